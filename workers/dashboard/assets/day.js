/* The day so far: what the database holds, and every level seen since.
   Owns those points, asking for them, and their chart. */
(function () {
  'use strict';
  const gex = (window.gex = window.gex || {});
  const { format, windows } = gex;
  const MOST = 2400; // points; with more, the day is asked for anew, thinned
  const LEAST_SPAN_MS = 10 * 60_000;
  const NEAR = 0.002; // of spot: zero gamma this close to it is always on the chart

  const day = { session: null, points: [], stored: 0, trouble: null, since: null, asked: false, version: 0 };

  function begin(session) {
    Object.assign(day, { session, points: [], stored: 0, trouble: null, since: null, asked: false });
    day.version += 1;
  }

  /** Put points in by their time; one that is there already is replaced. */
  function merge(points) {
    if (points.length === 0) return;
    const first = points[0].time;
    const last = points.at(-1).time;
    const kept = day.points.filter((point) => point.time < first || point.time > last);
    const mine = day.points.filter((point) => point.time >= first && point.time <= last);
    const times = new Set(points.map((point) => point.time));
    const extra = mine.filter((point) => !times.has(point.time));
    day.points = [...kept, ...points, ...extra].sort((a, b) => a.time - b.time);
  }

  gex.day = {
    state: day,
    /** Add a level that was just published. */
    add(latest) {
      if (latest.session !== day.session) begin(latest.session);
      const time = format.instant(latest.as_of);
      const last = day.points.at(-1);
      if (last && time <= last.time) return;
      const { net_gex, zero_gamma } = latest.levels;
      day.points.push({ time, state: latest.state, spot: latest.spot, net_gex, zero_gamma });
    },
    /** Start anew for a session; where it is the present one, nothing is lost. */
    follow: (session) => session !== day.session && begin(session),
    /** Where to go on asking [ms]: behind what is stored, or at the beginning. */
    from: () => (day.points.length > MOST ? 0 : day.stored),
    /** Take what the database holds after `from`. */
    take(columns, from) {
      const points = columns.time.map((time, place) => ({
        time,
        state: columns.state[place],
        spot: columns.spot[place],
        net_gex: columns.net_gex[place],
        zero_gamma: columns.zero_gamma[place],
      }));
      if (from === 0 && points.length) {
        const end = points.at(-1).time;
        day.points = day.points.filter((point) => point.time > end);
      }
      merge(points);
      if (points.length) day.stored = points.at(-1).time;
      if (from === 0 || day.trouble !== null) day.version += 1;
      Object.assign(day, { trouble: null, since: null, asked: true });
    },
    /** Note that the database cannot be asked. */
    fail(reason, now) {
      if (day.trouble === null) day.since = now;
      day.trouble = reason;
    },
    /** What to say of the history, empty when all is well. */
    note() {
      if (day.trouble === null) return '';
      const since = Number.isFinite(day.since) ? ` since ${format.local(day.since)}` : '';
      const rest = day.points.length ? ' Only what this page has seen is drawn.' : '';
      return `history is out of reach${since}: ${day.trouble}.${rest}`;
    },
    /** How much time a pixel of the chart stands for [ms]. */
    grain(width) {
      const { points } = day;
      const span = points.length ? points.at(-1).time - points[0].time : 0;
      return Math.max(span, LEAST_SPAN_MS) / width;
    },
    figure,
  };

  /** Longest step between two points that a line may bridge [ms]. */
  function bridge(points, period) {
    const steps = points.slice(1).map((point, place) => point.time - points[place].time);
    const middle = steps.sort((a, b) => a - b)[Math.floor(steps.length / 2)] || 0;
    const span = points.at(-1).time - points[0].time;
    return 3 * Math.max(period, middle, span / 1000);
  }

  /** Columns with a hole wherever nothing was published. */
  function withHoles(points, period, shift) {
    const longest = bridge(points, period);
    const columns = { x: [], spot: [], net_gex: [], zero_gamma: [] };
    points.forEach((point, place) => {
      const before = place ? points[place - 1].time : point.time;
      if (point.time - before > longest) {
        columns.x.push(before + shift + 1);
        ['spot', 'net_gex', 'zero_gamma'].forEach((name) => columns[name].push(null));
      }
      columns.x.push(point.time + shift);
      ['spot', 'net_gex', 'zero_gamma'].forEach((name) => columns[name].push(point[name]));
    });
    return columns;
  }

  /** The outline of net GEX for filling; Plotly would fill a hole too, so it is at zero there. */
  function ground({ x, net_gex: values }) {
    const outline = { x: [], y: [] };
    const put = (at, value) => (outline.x.push(at), outline.y.push(value));
    values.forEach((value, place) => {
      if (value !== null) return put(x[place], value);
      if (place) put(x[place - 1], 0);
      if (place < x.length - 1) put(x[place + 1], 0);
      return undefined;
    });
    return outline;
  }

  /** Stretches during which the feed was silent, as [from, to]. */
  function silences(points) {
    const found = [];
    points.forEach((point, place) => {
      if (point.state !== 'stale') return;
      const goesOn = place && points[place - 1].state === 'stale';
      if (goesOn) found.at(-1)[1] = point.time;
      else found.push([point.time, point.time]);
    });
    return found;
  }

  /** The prices to show: all of spot, and of zero gamma what is not too far from it. */
  function prices(points) {
    const spots = points.map((point) => point.spot).filter(format.known);
    const [low, high] = [Math.min(...spots), Math.max(...spots)];
    const near = Math.max(2 * (high - low), NEAR * high);
    const flips = points.map((point) => point.zero_gamma).filter(format.known)
      .filter((flip) => flip > low - near && flip < high + near);
    const [least, most] = [Math.min(low, ...flips), Math.max(high, ...flips)];
    const room = 0.06 * (most - least) || 0.01;
    return [least - room, most + room];
  }

  /** Where zero gamma is, when it is not on the chart. */
  function elsewhere(point, range, look) {
    const flip = point.zero_gamma;
    if (!format.known(flip) || (flip > range[0] && flip < range[1])) return [];
    const below = flip <= range[0];
    return [gex.figures.label(look, `${below ? '▾' : '▴'} zero gamma <b>${format.price(flip)}</b>`, look.flip, {
      xref: 'paper', x: 1, xanchor: 'right', yref: 'y2 domain', y: below ? 0 : 1, yanchor: below ? 'bottom' : 'top',
    })];
  }

  /** Spot with zero gamma above, net GEX below, over New York time. */
  function figure(look, period) {
    const { base, axis, nothing } = gex.figures;
    const { points } = day;
    if (points.length === 0) return nothing(look, day.asked ? 'no level is stored yet' : '');
    const revision = windows.revision('history', day.session);
    const shift = format.newYorkShift(points[0].time);
    const columns = withHoles(points, period, shift);
    const from = points[0].time + shift;
    const to = Math.max(points.at(-1).time + shift, from + LEAST_SPAN_MS);
    const room = (to - from) * 0.01;
    const heights = windows.range('history', 'yaxis2', prices(points));
    const line = (name, color, more) => ({
      type: 'scatter', mode: 'lines', x: columns.x, y: columns[name], connectgaps: false,
      line: { color, width: 1.5 }, ...more,
    });
    return {
      data: [
        {
          type: 'scatter', mode: 'lines', ...ground(columns), fill: 'tozeroy', fillcolor: look.netSoft,
          line: { width: 0 }, hoverinfo: 'skip',
        },
        line('net_gex', look.net, {
          customdata: columns.net_gex.map(format.money),
          hovertemplate: 'net GEX %{customdata}<extra></extra>',
        }),
        line('zero_gamma', look.flip, {
          yaxis: 'y2', line: { color: look.flip, width: 1.5, dash: 'dot' },
          hovertemplate: 'zero gamma %{y:,.2f}<extra></extra>',
        }),
        line('spot', look.spot, { yaxis: 'y2', hovertemplate: 'spot %{y:,.2f}<extra></extra>' }),
      ],
      layout: {
        ...base(look, revision),
        hovermode: 'x unified',
        margin: { l: 48, r: 14, t: 6, b: 24 },
        xaxis: axis(look, {
          type: 'date', range: [...windows.range('history', 'xaxis', [from - room, to + room])],
          tickformat: '%H:%M', hoverformat: '%H:%M:%S', zeroline: false, nticks: look.narrow ? 5 : 10,
          anchor: 'y',
        }),
        yaxis: axis(look, { domain: [0, 0.34], nticks: 4 }),
        yaxis2: axis(look, {
          domain: [0.4, 1], zeroline: false, tickformat: ',~r', nticks: 6, range: [...heights],
        }),
        shapes: silences(points).map(([start, end]) => ({
          type: 'rect', xref: 'x', x0: start + shift, x1: end + shift, yref: 'paper', y0: 0, y1: 1,
          fillcolor: look.grid, line: { width: 0 }, layer: 'below',
        })),
        annotations: elsewhere(points.at(-1), heights, look),
      },
    };
  }
})();
