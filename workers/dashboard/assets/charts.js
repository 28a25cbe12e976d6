/* Drawing: figures into Dash's graphs, and how long it took.
   Owns when the charts are drawn; must not fetch. Dash asks for the first figures through its
   clientside callback `gex.draw`, every later one is handed to it. */
(function () {
  'use strict';
  const gex = (window.gex = window.gex || {});
  const CHARTS = ['strikes', 'curve', 'history'];
  const KEPT = 2000; // measurements
  const timings = (window.gexTimings = { numbers: null, charts: null, updates: [] });
  let ready = false; // whether Dash has its graphs
  let look = null;
  let pending = null; // the measurement that runs
  let day = { version: -1, until: 0 }; // what of the day is drawn

  const plot = (chart) => document.querySelector(`#${chart} .js-plotly-plot`);

  /** Width that is left to a chart beside its axis [px]. */
  const room = (chart, axis) => Math.max(120, document.getElementById(chart).clientWidth - axis);

  /** Colours and sizes, as the style sheet has them now. */
  function measure() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const names = { callSoft: 'call-soft', putSoft: 'put-soft', netSoft: 'net-soft' };
    const own = 'text muted grid zero line panel raised spot flip call put net'.split(' ');
    look = {
      ...Object.fromEntries(own.map((name) => [name, colour(name)])),
      ...Object.fromEntries(Object.entries(names).map(([key, name]) => [key, colour(name)])),
      font: style.getPropertyValue('--font').trim(),
      narrow: window.innerWidth <= 560,
      coarse: window.matchMedia('(pointer: coarse), (max-width: 560px)').matches,
      heights: { strikes: Math.max(120, document.getElementById('strikes').clientHeight - 30) },
      widths: { curve: room('curve', 62), history: room('history', 62) },
    };
  }

  /** Chart → what builds its figure. */
  const BUILDERS = {
    strikes: ({ level, answer }) => (level ? gex.figures.strikes(level, look) : empty(answer)),
    curve: ({ level, answer }) => (level ? gex.figures.curve(level, look) : empty(answer)),
    history: ({ answer }) => gex.day.figure(look, answer ? gex.period(answer) : 1000),
  };

  const empty = (answer) => gex.figures.nothing(look, answer ? 'no fresh level' : 'connecting');

  function build(view, charts) {
    if (look === null) measure();
    return charts.map((chart) => BUILDERS[chart](view));
  }

  /** Words for who cannot see the charts. */
  function describe(view) {
    const { format } = gex;
    const latest = view.level && view.level.latest;
    const write = (id, text) => {
      const place = document.getElementById(id);
      if (place.textContent !== text) place.textContent = text;
    };
    if (!latest) return;
    const { levels } = latest;
    write('strikes-words', `Largest call exposure above spot at ${format.strike(levels.call_wall)}, `
      + `largest put exposure below it at ${format.strike(levels.put_wall)}.`);
    write('curve-words', `Net exposure is ${format.money(levels.net_gex)} $ at spot and changes sign at `
      + `${levels.zero_gamma_all.map((root) => format.price(root)).join(', ') || 'no spot'}.`);
    const points = gex.day.state.points;
    write('history-words', points.length
      ? `${points.length} levels since ${format.newYork(points[0].time)} New York.` : '');
  }

  function notes() {
    const place = document.getElementById('history-note');
    const text = gex.day.note();
    if (place.textContent !== text) place.textContent = text;
    place.hidden = text === '';
    CHARTS.forEach((chart) => {
      document.getElementById(`${chart}-reset`).hidden = !gex.windows.zoomed(chart);
    });
  }

  /** Listen to a graph once it is drawn. */
  function listen(chart) {
    const drawn = plot(chart);
    if (!drawn || !drawn.on || drawn.dataset.watched) return;
    drawn.dataset.watched = 'yes';
    drawn.on('plotly_afterplot', () => finished(chart));
    drawn.on('plotly_relayout', (change) => {
      if (!Object.keys(change).some((name) => /^[xy]axis\d*\./.test(name))) return;
      gex.windows.moved(chart);
      draw(gex.poll.view, null, false); // what was out of sight comes in
      notes();
    });
    drawn.on('plotly_doubleclick', () => reset(chart));
  }

  function finished(chart) {
    if (pending === null) return;
    pending.left.delete(chart);
    if (pending.left.size > 0) return;
    timings.updates.push(performance.now() - pending.began);
    if (timings.updates.length > KEPT) timings.updates.shift();
    pending = null;
  }

  function reset(chart) {
    gex.windows.reset(chart);
    draw(gex.poll.view, null, true);
  }

  /** Whether the day would look different: less than a pixel's worth is not drawn. */
  function dayIsDue() {
    const { version, points } = gex.day.state;
    const until = points.length ? points.at(-1).time : 0;
    if (version === day.version && until - day.until < gex.day.grain(look.widths.history)) return false;
    day = { version, until };
    return true;
  }

  function draw(view, began, everything) {
    if (!ready || document.hidden) return;
    if (look === null) measure();
    const due = dayIsDue() || everything;
    const charts = CHARTS.filter((chart) => due || chart !== 'history');
    CHARTS.forEach(listen);
    const watched = charts.every((chart) => plot(chart)?.dataset.watched);
    pending = began !== null && watched ? { began, left: new Set(charts) } : null;
    build(view, charts).forEach((figure, place) => {
      window.dash_clientside.set_props(charts[place], { figure });
    });
    describe(view);
    notes();
  }

  gex.charts = {
    /** Draw what has changed; `began` is when its answer came in, for the measurement. */
    draw: (view, began = null) => draw(view, began, false),
    /** The look has changed: theme, width or height. */
    restyle(view) {
      look = null;
      draw(view, null, true);
    },
  };

  function first() {
    ready = true;
    CHARTS.forEach((chart) => {
      document.getElementById(`${chart}-reset`).addEventListener('click', () => reset(chart));
    });
    const figures = build(gex.poll.view, CHARTS);
    describe(gex.poll.view);
    notes();
    watchFirst();
    return figures;
  }

  /** Note when the charts stand for the first time. */
  function watchFirst() {
    if (CHARTS.every((chart) => plot(chart)?._fullLayout)) {
      timings.charts = performance.now();
      CHARTS.forEach(listen);
    } else requestAnimationFrame(watchFirst);
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside, { gex: { draw: first } });
})();
