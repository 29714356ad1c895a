"use strict";
// Tables that sort; the leaderboards' search, families, columns and copies. The view of each is in the address.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const { state, remember } = invbench;
  const number = (raw) => (raw === "inf" ? Infinity : raw === "-inf" ? -Infinity : Number(raw));

  function sortBy(table, column, direction) {
    const heads = table.tHead.rows[0].cells;
    const text = heads[column].dataset.kind === "text";
    const value = (row) => row.cells[column].dataset.value;
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === ""); // what was not measured stays at the end
      if (text) return direction * x.localeCompare(y);
      return number(x) === number(y) ? 0 : direction * (number(x) < number(y) ? -1 : 1);
    });
    table.tBodies[0].append(...rows);
    for (const cell of heads) cell.setAttribute("aria-sort", "none");
    heads[column].setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  }

  for (const table of all("table.sortable")) {
    const board = table.closest(".answer")?.dataset.board;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") === "none"
          ? head.querySelector(".arrow")?.textContent !== "↑" // the first click puts the best on top
          : head.getAttribute("aria-sort") === "descending";
        sortBy(table, column, up ? 1 : -1);
        if (board) remember({ [`sort.${board}`]: `${up ? "+" : "-"}${column}` });
      });
    });
  }

  const cellText = (cell) => cell.querySelector(".mean")?.firstChild.textContent ?? cell.dataset.value ?? cell.textContent.trim();
  function seen(table) {
    const shown = (row) => [...row.cells].filter((cell) => !cell.hidden);
    const heads = shown(table.tHead.rows[0]).map((cell) => cell.textContent.trim());
    const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
    return [heads, ...rows.map((row) => shown(row).map(cellText))];
  }
  const forms = {
    Markdown: ([heads, ...rows]) => {
      const line = (cells) => `| ${cells.map((text) => text.replace(/([\\|*_`<])/g, "\\$1")).join(" | ")} |`;
      return [line(heads), `|${heads.map((_, index) => (index ? " --: " : " :-- ")).join("|")}|`, ...rows.map(line)].join("\n");
    },
    LaTeX: ([heads, ...rows]) => {
      const signs = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "↑": "$\\uparrow$", "↓": "$\\downarrow$", "–": "--" };
      const tex = (text) => text.replace(/[\\&%$#_{}~^↑↓–]/g, (sign) => signs[sign] ?? `\\${sign}`);
      const line = (cells) => `${cells.map(tex).join(" & ")} \\\\`;
      return [`\\begin{tabular}{l${"r".repeat(heads.length - 1)}}`, "\\toprule", line(heads), "\\midrule", ...rows.map(line), "\\bottomrule", "\\end{tabular}"].join("\n");
    },
    CSV: (rows) => rows.map((cells) => cells.map((text) => `"${text.replace(/^([=+@\t\r]|-(?![\d.]))/, "'$1").replace(/"/g, '""')}"`).join(",")).join("\n"),
  };
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.body.appendChild(invbench.element("textarea", {}, text));
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }

  async function start(section) {
    const [table, id] = [section.querySelector("table"), section.dataset.board];
    const [search, family] = [section.querySelector(".search"), section.querySelector(".family")];
    const boxes = all(".columns input", section);
    const defaults = boxes.filter((box) => box.checked).map((box) => box.value).join("|"); // names of edits have blanks
    const published = section.querySelector(".with-published");
    const columns = () => {
      const chosen = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
      [...table.tHead.rows[0].cells].forEach((head, column) => {
        if (head.dataset.metric) for (const row of table.rows) row.cells[column].hidden = !chosen.has(head.dataset.metric);
      });
      const now = [...chosen].join("|");
      remember({ [`columns.${id}`]: now === defaults ? "" : now });
    };
    // Rows of published numbers come from a file of their own, when they are asked for.
    async function printed() {
      if (!published.checked || table.querySelector("tr.published")) return;
      const { element } = invbench;
      const found = await invbench.load("published", `${id}.published`);
      const heads = [...table.tHead.rows[0].cells];
      const first = heads.findIndex((head) => head.dataset.metric);
      table.tBodies[0].append(...found.rows.map((row) => element("tr", { class: "published" }, ...heads.map((head, column) => {
        const cell = row.cells[column - first];
        if (column === 0) return element("th", { scope: "row", "data-value": row.label }, element("span", { class: "mean" }, row.label), element("span", { class: "interval" }, row.source));
        if (column === 1) return element("td", { class: "number", "data-value": row.n }, row.n);
        if (!cell) return element("td", { "data-value": "" });
        const mark = cell.reason ? [element("span", { class: "hidden-text" }, " not comparable")] : [];
        return element("td", { class: "number", "data-value": cell.value, title: cell.reason ? `not comparable: ${cell.reason}` : undefined }, element("span", { class: "mean" }, `${cell.text}${cell.reason ? " †" : ""}`, ...mark));
      }))));
      section.querySelector("details.published dl").replaceChildren(...found.reasons.map(([paper, reasons]) => element("div", {}, element("dt", {}, paper), element("dd", {}, `${reasons.join(". ")}.`))));
      columns();
    }
    const filter = () => {
      const words = search.value.toLowerCase();
      for (const row of table.tBodies[0].rows) {
        const left = row.classList.contains("published") ? !published.checked : Boolean(family?.value && row.dataset.family !== family.value);
        row.hidden = left || !row.cells[0].textContent.toLowerCase().includes(words);
      }
      for (const notes of all("details.published", section)) notes.hidden = !published.checked;
      remember({ [`q.${id}`]: search.value, [`family.${id}`]: family?.value, [`published.${id}`]: published?.checked ? 1 : "" });
    };
    search.addEventListener("input", filter);
    family?.addEventListener("change", filter);
    published?.addEventListener("change", async () => { await printed(); filter(); });
    for (const box of boxes) box.addEventListener("change", columns);
    for (const button of all(".copy", section)) {
      button.addEventListener("click", async () => {
        section.dataset.copied = forms[button.dataset.form](seen(table));
        await copy(section.dataset.copied);
        section.querySelector(".said").textContent = `copied as ${button.dataset.form}`;
        button.closest("details").open = false;
      });
    }
    const known = state();
    search.value = known.get(`q.${id}`) ?? "";
    if (family && known.has(`family.${id}`)) family.value = known.get(`family.${id}`);
    if (published) published.checked = known.has(`published.${id}`);
    if (published?.checked) await printed();
    if (search.value || family?.value || published?.checked) filter();
    if (known.has(`columns.${id}`)) {
      const chosen = new Set(known.get(`columns.${id}`).split("|"));
      for (const box of boxes) box.checked = chosen.has(box.value);
      columns();
    }
    const sorted = known.get(`sort.${id}`);
    if (sorted && table.tHead.rows[0].cells[Number(sorted.slice(1))]) sortBy(table, Number(sorted.slice(1)), sorted[0] === "+" ? 1 : -1);
  }
  all(".answer").forEach(start);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") for (const menu of all("details.menu[open]")) menu.open = false;
  });
})();
