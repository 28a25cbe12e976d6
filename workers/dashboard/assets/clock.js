/* The server's time, however wrong the browser's clock is and whatever is done to it.
   Owns that one answer; must not know what is judged by it. */
(function () {
  'use strict';
  const gex = (window.gex = window.gex || {});
  const SLOW_MS = 1000; // an answer older than this says too little about the time
  let anchor = null;

  /** A clock over two sources: a wall clock that may be wrong or be set, and one that only
      runs on, but may stand while the machine sleeps. The larger step of the two is believed:
      at worst something looks older than it is until the next answer. */
  const elapsed = () =>
    Math.max(Date.now() - anchor.wall, performance.now() - anchor.steady);

  gex.clock = {
    /** Learn the time from an answer.
        @param server the server's time when it was given [ms]
        @param ago how long ago that is, as far as can be known [ms] */
    learn(server, ago) {
      if (anchor !== null && ago > SLOW_MS) return;
      anchor = { server: server + ago, wall: Date.now(), steady: performance.now() };
    },
    /** The server's time now [ms since the epoch]; NaN before the first answer. */
    now: () => (anchor === null ? NaN : anchor.server + elapsed()),
  };
})();
