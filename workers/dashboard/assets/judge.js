/* Whether what is shown may be believed.
   Owns the states of the banner, from what is known and the server's time; must not touch the
   page. A level that is no longer renewed is stale, whoever died: feed, workers, Redis, the
   page's server, the network. */
(function () {
  'use strict';
  const gex = (window.gex = window.gex || {});
  const { format } = gex;
  const QUIET_MS = 2500; // without an answer for this long there is no connection
  const LULL_MS = 5000; // a recording has lulls of its own

  const since = (at, now) => `since ${format.local(at)} (${format.age(now - at)})`;
  const verdict = (name, tone, why, fresh = false) => ({ name, tone, why, fresh });

  /** Periods after which a level is overdue [ms]. */
  gex.period = (answer) =>
    answer.session && answer.session.replay
      ? Math.max(answer.period_ms, answer.replay_period_ms, LULL_MS)
      : answer.period_ms;

  /** The state of a view.
      @param view what is known: `answer`, the last whole one of the server, null before it;
        `level`, the last level seen, null before it; `trouble`, why there is no answer now,
        null while there is; `heard`, when the server last answered [ms]
      @param now the server's time [ms]
      @returns its name, tone (good, warn, bad, idle), reason, and whether numbers are fresh */
  gex.judge = function (view, now) {
    const { answer, level, trouble, heard } = view;
    if (trouble !== null && (heard === null || now - heard > QUIET_MS)) {
      const known = heard === null ? '' : `${since(heard, now)}: `;
      return verdict('no connection', 'bad', known + trouble);
    }
    if (level === null) {
      if (answer === null) return verdict('connecting', 'idle', '');
      return verdict('no fresh level', 'bad', 'nothing is published now; gex doctor says why');
    }
    const published = format.instant(level.latest.published_at);
    const { state } = level.latest;
    if (state === 'closed' || state === 'ended') {
      const what = state === 'closed' ? 'the session is over' : 'the recording has been played';
      return verdict(state, 'warn', `${what}; this is its last level`, true);
    }
    if (answer !== null && answer.latest === null) {
      return verdict('stale', 'bad', `${since(published, now)}: the level has expired`);
    }
    if (answer === null || now - published > 3 * gex.period(answer)) {
      return verdict('stale', 'bad', `${since(published, now)}: no newer level comes`);
    }
    if (state !== 'live') {
      const quiet = format.newYork(format.instant(level.latest.newest_quote_at));
      return verdict('stale', 'bad', `since ${quiet} New York: the feed is silent`);
    }
    const replayed = answer.session !== null && answer.session.replay;
    return verdict('live', replayed ? 'idle' : 'good', replayed ? 'a recording is played' : '', true);
  };

  /** Market time now [ms]: of a session in real time it runs on, else it stands at the level. */
  gex.marketNow = function (view, now) {
    const { answer, level } = view;
    const session = answer && answer.session;
    const runs = session && !session.replay && !session.ended;
    if (!runs) return format.instant(level.latest.as_of);
    const { wall_us: wall, market_us: market, rate } = session.clock;
    return market / 1000 + (now - wall / 1000) * rate;
  };
})();
