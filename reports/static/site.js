"use strict";
// What all pages share: data files as scripts, the state of the view in the address, selects, numbers as text.
window.invbench = { boards: {}, values: {}, pairs: {}, published: {} };
(() => {
  const root = document.body.dataset.root;
  const index = JSON.parse(document.getElementById("boards").textContent);
  const pending = {};
  const byId = (id) => document.getElementById(id);

  function load(kind, key) {
    if (key in invbench[kind]) return Promise.resolve(invbench[kind][key]);
    pending[key] ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `${root}data/${encodeURIComponent(key)}.js`;
      script.onload = () => resolve(invbench[kind][key]);
      script.onerror = () => reject(new Error(`${script.src} is missing`));
      document.head.append(script);
    });
    return pending[key];
  }
  const number = (value) => (value === "inf" ? Infinity : value === "-inf" ? -Infinity : value === null ? NaN : value);

  const state = () => new URLSearchParams(location.hash.slice(1));
  function remember(changes) {
    const now = state();
    for (const [name, value] of Object.entries(changes)) {
      if (value === "" || value === null || value === undefined) now.delete(name); else now.set(name, value);
    }
    history.replaceState(null, "", now.size ? `#${now}` : location.pathname + location.search);
  }

  function fill(select, items, chosen) {
    select.replaceChildren(...items.map(([value, text]) => new Option(text, value)));
    const wanted = [chosen].find((one) => one !== null && items.some(([value]) => String(value) === String(one)));
    if (wanted !== undefined) select.value = wanted;
  }

  function element(tag, attributes = {}, ...children) {
    const made = document.createElementNS(attributes.svg ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml", tag);
    for (const [name, value] of Object.entries(attributes)) if (name !== "svg" && value !== undefined) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }
  const written = (value) => (Number.isFinite(value) ? String(Number(value.toPrecision(4))) : Number.isNaN(value) ? "–" : value > 0 ? "∞" : "-∞");

  Object.assign(invbench, {
    root, index, load, state, remember, fill, element, written, byId,
    board: (id) => load("boards", id),
    table: async (id, metric) => (await load("values", `${id}.${metric}`)).map((row) => row.map(number)),
    startBoard: () => index.find((one) => one.id === state().get("board"))?.id ?? index[0]?.id,
  });
})();
