/* The tables under the charts.
   Owns what stands in them; must not compute a quantity. */
(function () {
  'use strict';
  const gex = (window.gex = window.gex || {});
  const { format } = gex;
  const SHOWN = 5;
  const TONES = { 2: true, 3: true, 4: true };

  const cellTone = (text) => (text.startsWith('+') ? 'call' : text.startsWith('\u2212') ? 'put' : '');

  /** Fill a table's body, reusing its cells. */
  function fill(id, rows) {
    const body = document.getElementById(id).tBodies[0];
    while (body.rows.length > rows.length) body.deleteRow(-1);
    rows.forEach((cells, number) => {
      const row = body.rows[number] || body.insertRow();
      cells.forEach((text, place) => {
        const cell = row.cells[place] || row.appendChild(document.createElement(place ? 'td' : 'th'));
        if (place === 0) cell.scope = 'row';
        if (cell.textContent !== text) cell.textContent = text;
        if (TONES[place]) cell.dataset.colour = cellTone(text);
      });
    });
  }

  function expirations(latest) {
    const pains = (latest && latest.levels.max_pain) || {};
    return (latest ? latest.expirations : []).map((row) => [
      format.day(row.expiration) + (row.settlement === 'AM' ? ' AM' : ''),
      String(row.dte),
      format.money(row.net_gex),
      format.percent(row.atm_iv, 1),
      format.strike(pains[row.settlement === 'AM' ? `${row.expiration}-AM` : row.expiration] ?? pains[row.expiration]),
      `${format.price(row.forward)}${row.forward_source === 'parity' ? '' : ` (${row.forward_source})`}`,
      format.count(row.contracts),
    ]);
  }

  function strongest(level) {
    const rows = level === null ? [] : [...level.profile.strikes];
    return rows
      .sort((a, b) => Math.abs(b.net_gex) - Math.abs(a.net_gex))
      .slice(0, SHOWN)
      .map((row) => [
        format.strike(row.strike),
        format.signed(row.strike - level.profile.spot),
        format.money(row.net_gex),
        format.money(row.call_gex),
        format.money(row.put_gex),
        format.count(row.call_oi),
        format.count(row.put_oi),
      ]);
  }

  function quality(latest) {
    const list = document.getElementById('quality');
    const rows = latest === null ? [] : qualityRows(latest.quality, latest);
    const texts = rows.flat();
    if (list.childElementCount !== texts.length) {
      list.replaceChildren(
        ...texts.map((_, number) => document.createElement(number % 2 ? 'dd' : 'dt')),
      );
    }
    texts.forEach((text, number) => {
      const place = list.children[number];
      if (place.textContent !== text) place.textContent = text;
    });
  }

  function qualityRows(found, latest) {
    const reasons = Object.entries(found.rejected).map(
      ([reason, count]) => `${reason.replaceAll('_', ' ')} ${format.count(count)}`,
    );
    return [
      ['contracts with an IV', `${format.count(found.with_iv)} of ${format.count(found.contracts)}`],
      ['left out', reasons.join(', ') || 'none'],
      ['open interest covered', format.percent(found.coverage_oi, 1)],
      ['gross gamma covered', format.percent(found.coverage_gamma, 1)],
      ['volume GEX', `${format.money(latest.levels.net_volume_gex)} on the day's volume`],
    ];
  }

  gex.tables = {
    /** Show a level, or none. */
    show(level) {
      const latest = level && level.latest;
      fill('expirations', expirations(latest));
      fill('strongest', strongest(level));
      quality(latest);
    },
  };
})();
