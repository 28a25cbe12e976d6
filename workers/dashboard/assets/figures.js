/* The two charts of a level: exposure by strike, and the re-priced curve.
   Owns how they look; pure: level and look in, Plotly figure out. */
(function () {
  'use strict';
  const gex = (window.gex = window.gex || {});
  const { format, windows } = gex;
  const GAP = 16; // least distance of two labels [px]
  const SHARES = { least: 0.01, most: 0.02, limit: 0.045 }; // of spot: half widths, and how far levels draw them

  /** What all charts have in common. */
  function base(look, revision) {
    return {
      autosize: true,
      paper_bgcolor: 'rgba(0,0,0,0)',
      plot_bgcolor: 'rgba(0,0,0,0)',
      font: { family: look.font, size: look.narrow ? 10.5 : 11, color: look.muted },
      showlegend: false,
      hoverlabel: {
        bgcolor: look.raised, bordercolor: look.line, align: 'left',
        font: { family: look.font, size: 12, color: look.text },
      },
      dragmode: look.coarse ? false : 'zoom',
      uirevision: revision,
      modebar: { bgcolor: 'rgba(0,0,0,0)', color: look.muted, activecolor: look.text },
    };
  }

  const axis = (look, more) => ({
    gridcolor: look.grid, zerolinecolor: look.zero, zerolinewidth: 1.5, linecolor: look.line,
    fixedrange: look.coarse, ticks: '', tickangle: 0, ticklabeloverflow: 'allow', automargin: false,
    exponentformat: 'B', ...more,
  });

  /** Half of the prices to show [$]: three expected moves, within bounds. */
  function half({ spot, levels }) {
    const moves = 3 * (levels.expected_move ?? 0);
    return Math.min(SHARES.most * spot, Math.max(SHARES.least * spot, moves));
  }

  /** An empty chart that says why it is empty. */
  function nothing(look, text) {
    return {
      data: [],
      layout: {
        ...base(look, 'nothing'),
        margin: { l: 8, r: 8, t: 8, b: 8 },
        xaxis: { visible: false, fixedrange: true },
        yaxis: { visible: false, fixedrange: true },
        annotations: [{ text, showarrow: false, font: { size: 13, color: look.muted } }],
      },
    };
  }

  /** The lines of a level: [value, name, text, colour, dash]. */
  function lines(level, look) {
    const { profile } = level;
    return [
      [profile.spot, 'spot', format.price(profile.spot), look.spot, 'solid'],
      [profile.zero_gamma, 'zero gamma', format.price(profile.zero_gamma), look.flip, 'dash'],
      [profile.call_wall, 'call wall', format.strike(profile.call_wall), look.call, 'dot'],
      [profile.put_wall, 'put wall', format.strike(profile.put_wall), look.put, 'dot'],
    ].filter(([value]) => format.known(value));
  }

  /** Shift labels apart so that none covers another; positions and shifts in px, upwards. */
  function spread(positions) {
    const order = positions.map((_, place) => place).sort((a, b) => positions[a] - positions[b]);
    const at = [...positions];
    for (let round = 0; round < 8; round += 1) {
      for (let number = 1; number < order.length; number += 1) {
        const [low, high] = [order[number - 1], order[number]];
        const missing = GAP - (at[high] - at[low]);
        if (missing > 0.01) {
          at[low] -= missing / 2;
          at[high] += missing / 2;
        }
      }
    }
    return at.map((value, place) => value - positions[place]);
  }

  const label = (look, text, colour, more) => ({
    text, showarrow: false, font: { size: look.narrow ? 10.5 : 11, color: colour },
    bgcolor: look.panel, borderpad: 1.5, ...more,
  });

  /** Exposure by strike: strikes upwards, calls and puts as wide bars, net as a slim one. */
  function strikes(level, look) {
    const { profile } = level;
    if (!format.known(profile.spot)) return nothing(look, 'no usable quotes');
    const revision = windows.revision('strikes', level.latest.session);
    const marks = lines(level, look);
    const { spot } = profile;
    const wanted = windows.around(
      spot, half(level.latest), marks.map(([value]) => value), SHARES.limit * spot,
    );
    const range = windows.range('strikes', 'yaxis', wanted);
    const near = profile.strikes.filter((row) => row.strike >= wanted[0] && row.strike <= wanted[1]);
    const rows = windows.zoomed('strikes') ? profile.strikes : near; // a reader may look anywhere
    const step = leastGap(near);
    const column = (read) => rows.map(read);
    const sided = (row) => (Math.sign(row.call_gex) === Math.sign(row.put_gex) ? row.call_gex : 0);
    const bars = (x, share, color, more) => ({
      type: 'bar', orientation: 'h', y: column((row) => row.strike), x, width: step * share,
      marker: { color, line: { width: 0 } }, hoverinfo: 'skip', ...more,
    });
    return {
      data: [
        bars(column((row) => row.call_gex), 0.86, look.callSoft),
        bars(column((row) => row.put_gex), 0.86, look.putSoft, { base: column(sided) }),
        bars(
          column((row) => row.net_gex), 0.36,
          column((row) => (row.net_gex < 0 ? look.put : look.call)),
          { hoverinfo: undefined, customdata: column(hoverTexts), hovertemplate: STRIKE_HOVER },
        ),
      ],
      layout: {
        ...base(look, revision),
        barmode: 'overlay',
        hovermode: 'y',
        margin: { l: look.narrow ? 36 : 44, r: 10, t: 6, b: 24 },
        xaxis: axis(look, { nticks: look.narrow ? 5 : 8 }),
        yaxis: axis(look, { range: [...range], tickformat: ',~r', zeroline: false, nticks: 16 }),
        ...across(marks, range, look),
      },
    };
  }

  const STRIKE_HOVER =
    '<b>%{customdata[0]}</b>  net %{customdata[1]}<br>calls %{customdata[2]}  OI %{customdata[4]}  vol %{customdata[6]}'
    + '<br>puts %{customdata[3]}  OI %{customdata[5]}  vol %{customdata[7]}<extra></extra>';

  const hoverTexts = (row) => [
    format.strike(row.strike), format.money(row.net_gex), format.money(row.call_gex),
    format.money(row.put_gex), format.count(row.call_oi), format.count(row.put_oi),
    format.count(row.call_volume), format.count(row.put_volume),
  ];

  function leastGap(rows) {
    const gaps = rows.slice(1).map((row, number) => row.strike - rows[number].strike);
    return gaps.length ? Math.min(...gaps) : 1;
  }

  /** Lines across a chart whose prices go upwards, each with its label. */
  function across(marks, range, look) {
    const perPrice = look.heights.strikes / (range[1] - range[0]);
    const shifts = spread(marks.map(([value]) => value * perPrice));
    return {
      shapes: marks.map(([value, , , color, dash]) => ({
        type: 'line', xref: 'paper', x0: 0, x1: 1, yref: 'y', y0: value, y1: value,
        line: { color, dash, width: dash === 'solid' ? 1.75 : 1.5 },
      })),
      annotations: marks.map(([value, name, text, color], number) =>
        label(look, `${name} <b>${text}</b>`, color, {
          xref: 'paper', x: 1, xanchor: 'right', yref: 'y', y: value, yanchor: 'middle',
          yshift: shifts[number],
        })),
    };
  }

  /** Net exposure if spot moved: filled by its sign, with spot, every zero and the zero line. */
  function curve(level, look) {
    const { profile, latest } = level;
    const { spots, net_gex: values } = profile.curve;
    if (!format.known(profile.spot) || spots.length === 0) return nothing(look, 'no usable quotes');
    const revision = windows.revision('curve', latest.session);
    const marks = lines(level, look).filter(([, name]) => name === 'spot' || name === 'zero gamma');
    const wanted = windows.around(
      profile.spot, 1.25 * half(latest), marks.map(([value]) => value),
      2 * SHARES.limit * profile.spot,
    );
    const range = windows.range('curve', 'xaxis', wanted);
    const [x, y] = withZeros(spots, values, windows.zoomed('curve') ? null : wanted);
    const fill = (part, color) => ({
      type: 'scatter', mode: 'lines', x, y: y.map(part), fill: 'tozeroy', fillcolor: color,
      line: { width: 0 }, hoverinfo: 'skip',
    });
    const inside = y.filter((_, place) => x[place] >= wanted[0] && x[place] <= wanted[1]);
    const [low, high] = [Math.min(0, ...inside), Math.max(0, ...inside)];
    const room = 0.08 * (high - low || 1);
    const heights = [low - room, high + 2 * room];
    return {
      data: [
        fill((value) => Math.max(value, 0), look.callSoft),
        fill((value) => Math.min(value, 0), look.putSoft),
        {
          type: 'scatter', mode: 'lines', x, y, line: { color: look.text, width: 1.75 },
          customdata: y.map((value, place) => [format.money(value), moved(x[place], profile.spot)]),
          hovertemplate: 'at <b>%{x:,.2f}</b> (%{customdata[1]})  %{customdata[0]}<extra></extra>',
        },
        {
          type: 'scatter', mode: 'markers', x: [profile.spot], y: [latest.levels.net_gex],
          marker: { color: look.spot, size: 8, line: { color: look.panel, width: 2 } }, hoverinfo: 'skip',
        },
      ],
      layout: {
        ...base(look, revision),
        hovermode: 'x',
        margin: { l: 48, r: 10, t: 6, b: 24 },
        xaxis: axis(look, {
          range: [...range], tickformat: ',~r', zeroline: false,
          nticks: look.narrow ? 6 : 10,
        }),
        yaxis: axis(look, { range: [...windows.range('curve', 'yaxis', heights)], nticks: 6 }),
        ...upright(marks, latest.levels.zero_gamma_all, range, look),
      },
    };
  }

  const moved = (at, spot) => `${format.signed((100 * (at - spot)) / spot)} %`;

  /** A curve with its crossings of zero put in, so that each side is filled up to them.
      @param range where it is seen, with a point beyond either end; null: all of it */
  function withZeros(spots, values, range = null) {
    const [x, y] = [[], []];
    const margin = spots.length > 1 ? spots[1] - spots[0] : 0;
    spots.forEach((spot, place) => {
      const value = values[place];
      if (!format.known(value)) return;
      if (range !== null && (spot < range[0] - margin || spot > range[1] + margin)) return;
      const before = y.length - 1;
      if (before >= 0 && y[before] * value < 0) {
        x.push(x[before] + ((spot - x[before]) * y[before]) / (y[before] - value));
        y.push(0);
      }
      x.push(spot);
      y.push(value);
    });
    return [x, y];
  }

  const LETTER = 6.4; // width of one in a label [px]

  /** Where the labels of upright lines go: at the top, outwards from one another where there is
      room, a line lower where two would meet.
      @param places of the lines from the left [px], ascending
      @param sizes of the labels [px]
      @returns for each its anchor and its shift downwards [px] */
  function beside(places, sizes, width) {
    const taken = []; // [from, to, row]
    return places.map((place, number) => {
      const leftwards = number === 0 && places.length > 1 ? place >= sizes[number] : width - place < sizes[number];
      const from = leftwards ? place - sizes[number] : place;
      const to = from + sizes[number];
      let row = 0;
      while (taken.some(([a, b, used]) => used === row && from < b && to > a)) row += 1;
      taken.push([from, to, row]);
      return { anchor: leftwards ? 'right' : 'left', down: row * GAP };
    });
  }

  /** Upright lines with their labels; every other zero is a thin line. */
  function upright(marks, roots, range, look) {
    const sorted = [...marks].sort((a, b) => a[0] - b[0]);
    const others = roots.filter((root) => !marks.some(([value]) => value === root));
    const width = look.widths.curve;
    const places = sorted.map(([value]) => ((value - range[0]) / (range[1] - range[0])) * width);
    const sizes = sorted.map(([, name, text]) => 12 + LETTER * (name.length + text.length));
    const sides = beside(places, sizes, width);
    const line = (value, color, dash, thickness) => ({
      type: 'line', xref: 'x', x0: value, x1: value, yref: 'paper', y0: 0, y1: 1,
      line: { color, dash, width: thickness },
    });
    return {
      shapes: [
        ...others.map((root) => line(root, look.flip, 'dot', 1)),
        ...sorted.map(([value, , , color, dash]) => line(value, color, dash, 1.5)),
      ],
      annotations: sorted.map(([value, name, text, color], number) =>
        label(look, `${name} <b>${text}</b>`, color, {
          xref: 'x', x: value, yref: 'paper', y: 1, yanchor: 'top', yshift: -sides[number].down,
          xanchor: sides[number].anchor, xshift: sides[number].anchor === 'right' ? -4 : 4,
        })),
    };
  }

  gex.figures = { strikes, curve, base, axis, nothing, label, spread, beside, withZeros };
})();
