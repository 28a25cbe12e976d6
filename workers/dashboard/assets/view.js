/* The banner and the tiles.
   Owns what stands in them; must not fetch, and draws no chart. Texts only ever enter the page
   as texts. */
(function () {
  'use strict';
  const gex = (window.gex = window.gex || {});
  const { format } = gex;
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);

  /** Write a text where it differs, so that nothing is laid out, or read out, in vain. */
  function write(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function mark(element, name, value) {
    if (element.dataset[name] !== value) element.dataset[name] = value;
  }

  const tone = (value) => (!format.known(value) || value === 0 ? '' : value > 0 ? 'call' : 'put');

  /** Tile → [value, second line, tone] of a level. */
  const TILES = {
    spot: (at) => [format.price(at.spot), rangeOf(at.levels), 'spot'],
    net_gex: ({ levels }) => [format.money(levels.net_gex), '$ per 1 % move', tone(levels.net_gex)],
    net_gex_0dte: ({ levels }) => [
      format.money(levels.net_gex_0dte),
      levels.net_gex_0dte === null ? 'nothing expires today' : 'expires today',
      tone(levels.net_gex_0dte),
    ],
    zero_gamma: ({ levels, spot }) => [
      format.price(levels.zero_gamma), zeroGammaNote(levels, spot), 'flip',
    ],
    call_wall: ({ levels, spot }) => [
      format.strike(levels.call_wall), format.distance(levels.call_wall, spot), 'call',
    ],
    put_wall: ({ levels, spot }) => [
      format.strike(levels.put_wall), format.distance(levels.put_wall, spot), 'put',
    ],
    regime: ({ levels }) => [levels.regime, REGIMES[levels.regime] || '', REGIME_TONES[levels.regime] || ''],
    max_pain(at) {
      const [day, strike] = Object.entries(at.levels.max_pain || {})[0] || [];
      return [format.strike(strike), day ? `${dayOf(day)}, ${format.distance(strike, at.spot)}` : '', ''];
    },
    expected_move: ({ levels, spot }) => [
      format.known(levels.expected_move) ? `±${format.price(levels.expected_move)}` : format.NONE,
      moveNote(levels.expected_move, spot), '',
    ],
    atm_iv: ({ levels, expirations, vix }) => [
      format.percent(levels.atm_iv, 1),
      [expirations.length ? dayOf(expirations[0].expiration) : '', format.known(vix) ? `VIX ${format.price(vix)}` : '']
        .filter(Boolean).join(', '),
      '',
    ],
    dex: ({ levels }) => [format.money(levels.dex), '$ of delta', tone(levels.dex)],
    vex: ({ levels }) => [format.money(levels.vex), 'per vol point', tone(levels.vex)],
    cex: ({ levels }) => [
      format.money(levels.cex), `a day, ${format.money(levels.cex_per_minute)} a minute`, tone(levels.cex),
    ],
    put_call: ({ levels }) => [
      format.price(levels.put_call_oi), `open interest; volume ${format.price(levels.put_call_volume)}`, '',
    ],
  };
  const REGIMES = {
    positive: 'modelled net gamma > 0',
    negative: 'modelled net gamma < 0',
    flip: 'within 0.1 % of zero gamma',
    unknown: 'no usable quotes',
  };
  const REGIME_TONES = { positive: 'call', negative: 'put', flip: 'flip' };

  const dayOf = (label) => format.day(label.slice(0, 10)) + label.slice(10).replace('-', ' ');

  function rangeOf({ call_wall: high, put_wall: low }) {
    return format.known(high) && format.known(low)
      ? `between walls ${format.strike(low)} and ${format.strike(high)}`
      : '';
  }

  function zeroGammaNote(levels, spot) {
    const roots = levels.zero_gamma_all.length;
    if (levels.zero_gamma === null) return 'net GEX keeps its sign';
    const away = format.distance(levels.zero_gamma, spot);
    return roots > 1 ? `${away}, nearest of ${roots}` : away;
  }

  function moveNote(move, spot) {
    if (!format.known(move) || !format.known(spot)) return '';
    return `${format.price(spot - move)} to ${format.price(spot + move)}`;
  }

  function tiles(latest) {
    for (const [id, read] of Object.entries(TILES)) {
      const tile = byId(id);
      const [value, note, colour] = latest === null ? [format.NONE, '', ''] : read(latest);
      write(tile.children[1], value);
      write(tile.children[2], note);
      mark(tile, 'colour', colour);
    }
  }

  function facts(view) {
    const { level, answer } = view;
    const latest = level && level.latest;
    const quality = latest && latest.quality;
    const text = (id, value) => write(byId(id), latest ? value() : format.NONE);
    text('coverage-oi', () => format.percent(quality.coverage_oi));
    text('coverage-gamma', () => format.percent(quality.coverage_gamma));
    text('oi-date', () => format.day(quality.oi_date));
    text('feed', () => latest.feed);
    text('sign', () => `${latest.sign.replace('_', ' ')}, as modelled`);
    text('clock', () => format.newYork(format.instant(latest.as_of)));
    write(byId('date'), latest ? `New York, ${format.date(latest.session.split(':')[1])}` : '');
    byId('feed').title = (answer && answer.session && answer.session.source) || '';
    alarm(latest ? latest.invariants : []);
  }

  function alarm(breaches) {
    const box = byId('alarm');
    box.hidden = breaches.length === 0;
    write(box, breaches.length ? `These levels contradict themselves: ${breaches.join('; ')}` : '');
  }

  function symbols(view) {
    const select = byId('symbols');
    const names = view.symbols;
    if (select.childElementCount !== names.length) {
      select.replaceChildren(...names.map((name) => new Option(name, name)));
    }
    select.hidden = names.length < 2;
    byId('symbol').hidden = names.length >= 2;
    if (select.value !== view.symbol) select.value = view.symbol;
    write(byId('symbol'), view.symbol || format.NONE);
  }

  function title(view, verdict) {
    const latest = view.level && view.level.latest;
    const parts = [view.symbol];
    if (latest) parts.push(format.price(latest.spot), `ZG ${format.price(latest.levels.zero_gamma)}`);
    if (verdict.name !== 'live') parts.unshift(verdict.name.toUpperCase());
    const text = `${parts.join(' ')} – GEX`;
    if (document.title !== text) document.title = text;
  }

  gex.view = {
    /** Show a level, or that there is none. */
    level(view) {
      symbols(view);
      tiles(view.level && view.level.latest);
      facts(view);
      gex.tables.show(view.level);
      gex.view.tick(view);
    },
    /** What changes without a new level: ages, and what they mean. Called several times a second. */
    tick(view) {
      const now = gex.clock.now();
      const verdict = gex.judge(view, now);
      const banner = byId('banner');
      write(byId('state'), verdict.name);
      write(byId('why'), verdict.why);
      mark(banner, 'tone', verdict.tone);
      mark(root, 'fresh', verdict.fresh ? 'yes' : 'no');
      const latest = view.level && view.level.latest;
      const market = latest ? gex.marketNow(view, now) : NaN;
      const ages = {
        'level-age': latest ? now - format.instant(latest.published_at) : NaN,
        'data-age': latest ? market - format.instant(latest.newest_quote_at) : NaN,
        'oldest-age': latest ? market - format.instant(latest.quality.oldest_quote_at) : NaN,
      };
      for (const [id, age] of Object.entries(ages)) write(byId(id), format.age(age));
      title(view, verdict);
      return verdict;
    },
  };
})();
