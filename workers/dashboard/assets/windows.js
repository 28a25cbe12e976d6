/* Which part of an axis is shown: it follows the market until the reader has zoomed.
   Owns those ranges; must not know a level's fields. Plotly keeps a reader's zoom as long as it is
   given the same range again (uirevision), so a range only moves while nobody has zoomed. */
(function () {
  'use strict';
  const gex = (window.gex = window.gex || {});
  const charts = {}; // chart → its given ranges by axis, whether it is zoomed, its revision

  const of = (chart) =>
    (charts[chart] = charts[chart] || { given: {}, zoomed: false, revision: 0 });

  gex.windows = {
    /** The range to give an axis: the wanted one, or the last one while the reader has zoomed. */
    range(chart, axis, wanted) {
      const own = of(chart);
      if (!own.zoomed || !own.given[axis]) own.given[axis] = wanted;
      return own.given[axis];
    },
    zoomed: (chart) => of(chart).zoomed,
    /** What Plotly keeps a zoom by; it changes with the topic. */
    revision(chart, topic) {
      const own = of(chart);
      if (own.topic !== topic) Object.assign(own, { topic, zoomed: false });
      return `${topic} ${own.revision}`;
    },
    /** Note that the reader moved an axis. */
    moved: (chart) => (of(chart).zoomed = true),
    /** Forget a zoom: the view follows the market again. */
    reset(chart) {
      const own = of(chart);
      own.zoomed = false;
      own.revision += 1;
    },
    /** A range around a centre. It moves in steps, not with every tick, and reaches as far as
        those points that are within `limit` of the centre. */
    around(centre, half, points, limit) {
      const step = half / 4;
      const middle = Math.round(centre / step) * step;
      const reach = points
        .filter((point) => Number.isFinite(point) && Math.abs(point - middle) <= limit)
        .map((point) => Math.abs(point - middle) + step);
      const wide = Math.ceil(Math.max(half, ...reach) / step - 1e-9) * step;
      return [middle - wide, middle + wide];
    },
  };
})();
