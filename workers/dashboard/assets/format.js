/* How numbers, times and ages are written; null is a dash.
   Owns texts only; must not touch the page or know a level. */
(function () {
  'use strict';
  const gex = (window.gex = window.gex || {});
  const NONE = '–';
  const MINUS = '\u2212';
  const NEW_YORK = 'America/New_York';
  const UNITS = [[1e9, 'bn'], [1e6, 'm'], [1e3, 'k']];

  /** A way to write dates, made when it is first needed: that takes long. */
  function dates(locale, options) {
    let made = null;
    return (at) => (made = made || new Intl.DateTimeFormat(locale, options)).format(at);
  }

  const CLOCK = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' };
  const newYorkClock = dates('en-GB', { timeZone: NEW_YORK, ...CLOCK });
  const localClock = dates('en-GB', CLOCK);
  const sortable = dates('sv-SE', { timeZone: NEW_YORK, dateStyle: 'short', timeStyle: 'medium' });
  const longDate = dates('en-GB', {
    timeZone: 'UTC', weekday: 'short', day: 'numeric', month: 'short', year: 'numeric',
  });
  const shortDate = dates('en-GB', { timeZone: 'UTC', day: 'numeric', month: 'short' });

  const known = (value) => typeof value === 'number' && Number.isFinite(value);
  const sign = (value) => (value < 0 ? MINUS : value > 0 ? '+' : '');

  /** Digits in groups of three; a locale's own formatting takes a hundred times as long. */
  function plain(value, digits) {
    const text = Math.abs(value).toFixed(digits);
    const [whole, part] = text.split('.');
    const grouped = whole.length > 3 ? whole.replace(/\B(?=(\d{3})+$)/g, ',') : whole;
    return (value < 0 && Number(text) ? MINUS : '') + grouped + (part ? `.${part}` : '');
  }

  gex.format = {
    NONE,
    known,
    /** A price [$]: 716.97. */
    price: (value, digits = 2) => (known(value) ? plain(value, digits) : NONE),
    /** A strike [$], cents only where it has some: 720, 712.50. */
    strike: (value) => (known(value) ? plain(value, Number.isInteger(value) ? 0 : 2) : NONE),
    /** A count: 12,345. */
    count: (value) => (known(value) ? plain(value, 0) : NONE),
    /** A difference with its sign: +3.03. */
    signed: (value, digits = 2) =>
      known(value) ? sign(value) + plain(Math.abs(value), digits) : NONE,
    /** An amount [$] with its sign: +4.45 bn. */
    money(value) {
      if (!known(value)) return NONE;
      const size = Math.abs(value);
      const [unit, name] = UNITS.find(([least]) => size >= least * 0.99995) || [1, ''];
      return sign(value) + plain(size / unit, unit === 1 ? 0 : 2) + (name && ` ${name}`);
    },
    /** A share as per cent: 28.3 %. */
    percent: (share, digits = 0) => (known(share) ? `${plain(100 * share, digits)} %` : NONE),
    /** A level's distance from spot in $ and per cent: +3.03 (+0.42 %). */
    distance(level, spot) {
      if (!known(level) || !known(spot) || spot === 0) return '';
      const away = level - spot;
      return `${gex.format.signed(away)} (${gex.format.signed((100 * away) / spot)} %)`;
    },
    /** An age [ms]: 0.4 s, 12 s, 2 m 05 s, 1 h 02 m. */
    age(ms) {
      if (!known(ms)) return NONE;
      const seconds = Math.max(0, ms / 1000);
      if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
      const whole = Math.round(seconds);
      const two = (number) => String(number).padStart(2, '0');
      if (whole < 60) return `${whole} s`;
      if (whole < 3600) return `${Math.floor(whole / 60)} m ${two(whole % 60)} s`;
      return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} m`;
    },
    /** New York wall time of an instant [ms]: 10:42:07. */
    newYork: (ms) => (known(ms) ? newYorkClock(ms) : NONE),
    /** Wall time of an instant [ms] where the reader is. */
    local: (ms) => (known(ms) ? localClock(ms) : NONE),
    /** What is added to an instant [ms] so that its UTC time reads as New York's. */
    newYorkShift(ms) {
      const wall = Date.parse(`${sortable(ms).replace(' ', 'T')}Z`);
      return wall - Math.floor(ms / 1000) * 1000;
    },
    /** A date 2026-11-24: Tue, 24 Nov 2026. */
    date: (iso) => (iso ? longDate(Date.parse(iso)) : NONE),
    /** A date 2026-11-24: 24 Nov. */
    day: (iso) => (iso ? shortDate(Date.parse(iso)) : NONE),
    /** The instant [ms] of an ISO 8601 text, NaN of none. */
    instant: (text) => (text ? Date.parse(text) : NaN),
  };
})();
