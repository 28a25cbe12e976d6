/* Light or dark: the system's choice, or the reader's where he has made one.
   Owns that choice, before the first paint; must not know what is shown. */
(function () {
  'use strict';
  const gex = (window.gex = window.gex || {});
  const KEY = 'gex-theme';
  const system = window.matchMedia('(prefers-color-scheme: dark)');
  const listeners = [];

  function stored() {
    try {
      return window.localStorage.getItem(KEY);
    } catch {
      return null; // storage is closed to this page: the system's choice it is
    }
  }

  function keep(theme) {
    try {
      if (theme === null) window.localStorage.removeItem(KEY);
      else window.localStorage.setItem(KEY, theme);
    } catch {
      /* it holds until the page is left */
    }
  }

  const fromSystem = () => (system.matches ? 'dark' : 'light');

  function show(theme) {
    document.documentElement.dataset.theme = theme;
    listeners.forEach((listener) => listener());
  }

  gex.theme = {
    /** What is shown now: 'light' or 'dark'. */
    current: () => document.documentElement.dataset.theme,
    /** The other one; where that is the system's, the system is followed again. */
    toggle() {
      const next = gex.theme.current() === 'dark' ? 'light' : 'dark';
      keep(next === fromSystem() ? null : next);
      show(next);
    },
    onChange: (listener) => listeners.push(listener),
  };

  show(stored() || fromSystem());
  system.addEventListener('change', () => stored() || show(fromSystem()));
  window.addEventListener('storage', (event) => event.key === KEY && show(event.newValue || fromSystem()));
})();
