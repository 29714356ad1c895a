"use strict";
// The plots: quality against time, and edit metrics against strength. All data is in the page.
(() => {
  const data = JSON.parse(document.getElementById("board-data").textContent);
  const byId = (id) => document.getElementById(id);
  const unique = (values) => [...new Set(values)];
  const methods = unique([...data.quality, ...data.edits].map((one) => one.method)).sort();
  const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#8c564b", "#7f7f7f"];
  const symbols = ["circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon", "triangle-down", "x"];
  const style = (method) => {
    const index = methods.indexOf(method);
    return { color: colours[index % colours.length], symbol: symbols[index % symbols.length] };
  };
  // plotly reads a little HTML in its texts; names are data and must stay text.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const nameOf = (id) => id.split("@")[0]; // an id is name@protocol
  const title = (id) => {
    const metric = data.metrics[id];
    const arrow = { lower: " ↓", higher: " ↑", none: "" }[metric.better];
    return plain(id + arrow + (metric.unit ? ` (${metric.unit})` : ""));
  };
  const fill = (select, values, chosen) => {
    select.replaceChildren(...values.map((value) => new Option(value, value)));
    if (values.includes(chosen)) select.value = chosen;
  };
  const measured = (items) => unique(items.flatMap((item) => Object.keys(item.values)
    .filter((id) => [item.values[id]].flat().some((value) => value !== null))));
  // Every metric in the order of the tables.
  const ordered = (ids) => Object.keys(data.metrics).filter((id) => ids.includes(id));

  function draw(target, traces, xaxis, yaxis) {
    const css = getComputedStyle(document.documentElement);
    const colour = (name) => css.getPropertyValue(name).trim();
    const axis = { gridcolor: colour("--rule"), linecolor: colour("--quiet"), zeroline: false, ticks: "outside", tickcolor: colour("--quiet"), automargin: true };
    const layout = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 60, r: 20, t: 10, b: 50 }, hovermode: "closest",
      font: { color: colour("--ink"), size: 12, family: "system-ui, Segoe UI, Helvetica, Arial, sans-serif" },
      showlegend: traces.length > 1 && traces.some((trace) => trace.showlegend !== false),
      legend: { orientation: "h", y: -0.22 }, modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--rule"), activecolor: colour("--quiet") },
      xaxis: { ...axis, ...xaxis, title: { text: xaxis.title, standoff: 8 } },
      yaxis: { ...axis, ...yaxis, title: { text: yaxis.title, standoff: 12 } },
    };
    Plotly.react(target, traces, layout, { displaylogo: false, responsive: true, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] });
  }

  function drawTime() {
    const metric = byId("time-metric").value;
    const points = data.quality.filter((one) => one.dataset === byId("time-dataset").value && one.seconds > 0 && (one.values[metric] ?? null) !== null);
    const traces = points.map((one) => ({
      x: [one.seconds], y: [one.values[metric]], mode: "markers+text", name: plain(one.label), showlegend: false,
      text: [plain(one.label)], textposition: "top center", cliponaxis: false, marker: { ...style(one.method), size: 11 },
      hovertemplate: `${plain(one.label)}<br>%{y:.5g} ${plain(metric)}<br>%{x:.3g} s an image<br>${plain(one.n)}<extra></extra>`,
    }));
    draw(byId("time-plot"), traces, { type: "log", title: "seconds an image (log)", dtick: "D2" }, { title: title(metric) });
  }

  function chooseTime() {
    const dataset = byId("time-dataset").value;
    fill(byId("time-metric"), ordered(measured(data.quality.filter((one) => one.dataset === dataset))), byId("time-metric").value);
    drawTime();
  }

  function drawEdits(side) {
    const metric = byId(`edit-${side}`).value;
    const edit = byId("edit-name").value;
    const lines = data.edits.filter((one) => one.dataset === byId("edit-dataset").value && one.edit === edit && metric in one.values);
    const traces = lines.map((one) => ({
      x: one.strengths, y: one.values[metric], mode: "lines+markers", name: plain(one.label), line: { color: style(one.method).color, width: 1.5 },
      marker: { ...style(one.method), size: 7 }, hovertemplate: `${plain(one.label)}<br>%{x:+g}: %{y:.5g}<extra></extra>`,
    }));
    const target = data.targets[edit];
    if (nameOf(metric) === `${edit}_change` && target && target.per_strength !== null) {
      const x = unique([0, ...lines.flatMap((one) => one.strengths)]).sort((a, b) => a - b);
      traces.push({ x, y: x.map((one) => one * target.per_strength), mode: "lines", name: "asked for", line: { dash: "dash", width: 1.5, color: getComputedStyle(document.documentElement).getPropertyValue("--quiet").trim() }, hoverinfo: "skip" });
    }
    draw(byId(`edit-${side}-plot`), traces, { title: `strength of ${plain(edit)}` }, { title: metric ? title(metric) : "" });
  }

  function chooseEdit() {
    const edit = byId("edit-name").value;
    const dataset = byId("edit-dataset").value;
    const known = ordered(measured(data.edits.filter((one) => one.edit === edit && one.dataset === dataset)));
    const left = known.find((id) => nameOf(id) === `${edit}_change`) ?? known[0];
    fill(byId("edit-left"), known, left);
    fill(byId("edit-right"), known, known.find((id) => id.startsWith("truth_")) ?? known.find((id) => id !== left));
    drawEdits("left");
    drawEdits("right");
    filterTable();
  }

  function filterTable() {
    const edit = byId("edit-name").value;
    const strength = byId("edit-strength").value;
    const dataset = byId("edit-dataset").value;
    for (const block of document.querySelectorAll("#edits .dataset")) block.hidden = block.dataset.dataset !== dataset;
    for (const row of document.querySelectorAll("table.edits tbody tr")) {
      row.hidden = row.dataset.edit !== edit || (strength !== "" && row.dataset.strength !== strength);
    }
    // A column that this edit has nothing in would only be dashes.
    for (const table of document.querySelectorAll("table.edits")) {
      [...table.tHead.rows[0].cells].forEach((head, column) => {
        if (!("metric" in head.dataset)) return;
        const empty = ![...table.tBodies[0].rows].some((row) => !row.hidden && row.cells[column].dataset.value !== "");
        for (const row of table.rows) row.cells[column].hidden = empty;
      });
    }
  }

  function start() {
    fill(byId("time-dataset"), unique(data.quality.map((one) => one.dataset)));
    byId("time-dataset").addEventListener("change", chooseTime);
    byId("time-metric").addEventListener("change", drawTime);
    if (byId("edit-name")) {
      fill(byId("edit-dataset"), unique(data.edits.map((one) => one.dataset)));
      fill(byId("edit-name"), unique(data.edits.map((one) => one.edit)));
      const strengths = unique([...document.querySelectorAll("table.edits tbody tr")].map((row) => row.dataset.strength));
      for (const strength of strengths.sort((a, b) => a - b)) byId("edit-strength").add(new Option(Number(strength) > 0 ? `+${Number(strength)}` : Number(strength), strength));
      byId("edit-strength").value = strengths[strengths.length - 1];
      for (const id of ["edit-dataset", "edit-name"]) byId(id).addEventListener("change", chooseEdit);
      for (const side of ["left", "right"]) byId(`edit-${side}`).addEventListener("change", () => drawEdits(side));
      byId("edit-strength").addEventListener("change", filterTable);
      chooseEdit();
    }
    chooseTime();
  }

  const redraw = () => { drawTime(); if (byId("edit-name")) { drawEdits("left"); drawEdits("right"); } };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  start();
})();
