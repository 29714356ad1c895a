"use strict";
// Tables that sort, filters, and the gallery's selectors. Without scripts the page shows everything at once.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);

  function sortBy(table, column, direction) {
    const head = table.tHead.rows[0].cells[column];
    const text = head.dataset.kind === "text";
    const value = (row) => row.cells[column].dataset.value;
    const body = table.tBodies[0];
    const number = (raw) => (raw === "inf" ? Infinity : raw === "-inf" ? -Infinity : Number(raw));
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === ""); // what was not measured stays at the end
      if (text) return direction * x.localeCompare(y);
      return number(x) === number(y) ? 0 : direction * (number(x) < number(y) ? -1 : 1);
    });
    body.append(...rows);
    for (const cell of table.tHead.rows[0].cells) cell.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  }

  for (const table of all("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") === "none"
          ? head.querySelector(".arrow")?.textContent !== "↑" // the first click puts the best on top
          : head.getAttribute("aria-sort") === "descending";
        sortBy(table, column, up ? 1 : -1);
      });
    });
  }

  const show = (element, visible) => { element.hidden = !visible; };

  const filter = byId("dataset-filter");
  filter?.addEventListener("change", () => {
    for (const block of all("#leaderboard .dataset")) show(block, !filter.value || block.dataset.dataset === filter.value);
  });

  const panels = all(".panel");
  const image = byId("gallery-image");
  const edit = byId("gallery-edit");
  if (panels.length) {
    const names = [...new Set(all(".panel [data-edit]").map((cell) => cell.dataset.edit))];
    for (const name of names) edit.add(new Option(name, name));
    show(edit.parentElement, names.length > 0);
    const update = () => {
      panels.forEach((panel, index) => show(panel, index === Number(image.value)));
      for (const cell of all(".panel [data-edit]")) show(cell, cell.dataset.edit === edit.value);
    };
    const step = (by) => {
      image.value = String((Number(image.value) + by + panels.length) % panels.length);
      update();
    };
    image.addEventListener("change", update);
    edit.addEventListener("change", update);
    byId("gallery-previous").addEventListener("click", () => step(-1));
    byId("gallery-next").addEventListener("click", () => step(1));
    update();
  }
})();
