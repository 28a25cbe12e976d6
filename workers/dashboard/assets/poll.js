/* Asking the server, without end: the levels with every tick, the day every few seconds.
   Owns what is known (the view), when it is asked for, and the start of the page. */
(function () {
  'use strict';
  const gex = (window.gex = window.gex || {});
  const PATIENCE_MS = 4000;
  const LEAST_PAUSE_MS = 250;
  const MARGIN_MS = 60; // after the next level is due
  const DAY_MS = 10_000;
  const DAY_PATIENCE_MS = 12_000;
  const TICK_MS = 250; // of the ages

  const view = {
    symbol: null, symbols: [], answer: null, level: null, trouble: null, heard: null,
  };
  const timers = {};
  let turn = 0; // of the questions: an answer to an older one is not looked at
  let drawn = ''; // what the charts show

  /** Ask for a JSON document; the answer, or an Error that says why there is none. */
  async function ask(path, patience) {
    const began = performance.now();
    const response = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(patience) });
    const document_ = await response.json();
    gex.clock.learn(document_.now, (performance.now() - began) / 2);
    if (!response.ok) throw new Error(document_.error || `the server answers ${response.status}`);
    return document_;
  }

  function reason(error) {
    if (error.name === 'TimeoutError') return 'the page’s server does not answer';
    if (error instanceof TypeError) return 'the page’s server is out of reach';
    if (error instanceof SyntaxError) return 'the page’s server answers nonsense';
    return error.message;
  }

  /** Take in an answer of the server. */
  function accept(answer, began) {
    const { symbols } = answer;
    Object.assign(view, { answer, symbols, trouble: null, heard: gex.clock.now() });
    if (answer.latest !== null && answer.profile !== null) {
      view.level = { latest: answer.latest, profile: answer.profile };
      gex.day.add(answer.latest);
    } else if (answer.session !== null) gex.day.follow(answer.session.key);
    gex.view.level(view);
    redraw(began);
  }

  function redraw(began = null) {
    const latest = view.level && view.level.latest;
    const shown = JSON.stringify([
      view.symbol, latest && [latest.session, latest.as_of, latest.state], gex.day.state.stored, gex.day.note(),
    ]);
    if (shown === drawn) return;
    if (!document.hidden) drawn = shown;
    gex.charts.draw(view, began);
  }

  /** When to ask again [ms from now]: just after the next level is due. */
  function pause() {
    const period = view.answer ? view.answer.period_ms : 1000;
    const live = view.trouble === null && view.answer && view.answer.latest !== null;
    if (!live) return period;
    const due = gex.format.instant(view.answer.latest.published_at) + period + MARGIN_MS - gex.clock.now();
    return due > LEAST_PAUSE_MS && due < 2 * period ? due : Math.max(period / 2, LEAST_PAUSE_MS);
  }

  async function levels() {
    clearTimeout(timers.levels);
    const mine = (turn += 1);
    try {
      const answer = await ask(`/data/published?symbol=${encodeURIComponent(view.symbol)}`, PATIENCE_MS);
      if (mine !== turn) return;
      accept(answer, performance.now());
    } catch (error) {
      if (mine !== turn) return;
      view.trouble = reason(error);
      gex.view.tick(view);
    }
    timers.levels = setTimeout(levels, pause());
  }

  async function day() {
    clearTimeout(timers.day);
    const { session } = gex.day.state;
    if (session !== null) {
      const from = gex.day.from();
      try {
        const found = await ask(`/data/day?session=${encodeURIComponent(session)}&since=${from}`, DAY_PATIENCE_MS);
        if (session === gex.day.state.session) gex.day.take(found.points, from);
      } catch (error) {
        gex.day.fail(reason(error), gex.clock.now());
      }
      redraw();
    }
    timers.day = setTimeout(day, session === null ? 500 : DAY_MS);
  }

  /** Show another symbol; its address can be kept. */
  function select(symbol) {
    Object.assign(view, { symbol, answer: null, level: null });
    const address = new URL(window.location.href);
    address.searchParams.set('symbol', symbol);
    window.history.replaceState(null, '', address);
    gex.day.follow(null);
    gex.view.level(view); // nothing of the other symbol stays, whatever happens now
    redraw();
    levels().then(day);
  }

  function listen() {
    document.getElementById('symbols').addEventListener('change', (event) => select(event.target.value));
    document.getElementById('theme').addEventListener('click', gex.theme.toggle);
    gex.theme.onChange(() => gex.charts.restyle(view));
    window.addEventListener('resize', () => {
      clearTimeout(timers.resize);
      timers.resize = setTimeout(() => gex.charts.restyle(view), 150);
    });
    document.addEventListener('visibilitychange', () => document.hidden || (levels(), redraw()));
    ['online', 'pageshow'].forEach((name) => window.addEventListener(name, levels));
  }

  /** Have the large script of the charts come now, after the numbers, before Dash asks for it. */
  function preload(address) {
    document.head.append(Object.assign(document.createElement('link'), {
      rel: 'preload', as: 'script', href: address,
    }));
  }

  function start() {
    const place = document.getElementById('first');
    const first = JSON.parse(place.textContent);
    const [navigation] = performance.getEntriesByType('navigation');
    gex.clock.learn(first.now, Math.max(0, performance.now() - navigation.responseStart));
    Object.assign(view, { symbol: first.symbol, symbols: first.symbols });
    if (first.error === null) accept(first);
    else {
      view.trouble = first.error;
      gex.view.level(view);
    }
    window.gexTimings.numbers = performance.now();
    listen();
    setInterval(() => gex.view.tick(view), TICK_MS);
    levels();
    day();
    preload(place.dataset.plotly);
  }

  gex.poll = { view, start };
  start();
})();
