"use strict";
// The plots: quality against time, edit metrics against strength and against each other. All data is in the page.
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
  const nameOf = (id) => data.metrics[id]?.name;
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
  // All metrics in the order of the tables.
  const ordered = (ids) => Object.keys(data.metrics).filter((id) => ids.includes(id));

  const quiet = () => getComputedStyle(document.documentElement).getPropertyValue("--quiet").trim();
  // Whiskers from means and the ends of their intervals; none without an interval.
  const whiskers = (means, ends, colour) => ends && ends.some(([low, high]) => low !== null && high !== null) ? {
    type: "data", symmetric: false, thickness: 1, width: 3, color: colour,
    array: ends.map(([, high], i) => (high === null || means[i] === null ? 0 : Math.max(high - means[i], 0))),
    arrayminus: ends.map(([low], i) => (low === null || means[i] === null ? 0 : Math.max(means[i] - low, 0))),
  } : undefined;
  const range = (ends) => (ends && ends[0] !== null ? ` [${ends[0].toPrecision(4)}, ${ends[1].toPrecision(4)}]` : "");

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
      error_y: whiskers([one.values[metric]], one.ends[metric] && [one.ends[metric]], style(one.method).color),
      hovertemplate: `${plain(one.label)}<br>%{y:.5g}${range(one.ends[metric])} ${plain(metric)}<br>%{x:.3g} s an image<br>${plain(one.n)}<extra></extra>`,
    }));
    draw(byId("time-plot"), traces, { type: "log", title: "seconds per image (log)", dtick: "D2" }, { title: title(metric) });
  }

  function chooseTime() {
    const dataset = byId("time-dataset").value;
    fill(byId("time-metric"), ordered(measured(data.quality.filter((one) => one.dataset === dataset))), byId("time-metric").value);
    drawTime();
  }

  const chosenLines = (metric) => data.edits.filter((one) => one.dataset === byId("edit-dataset").value
    && one.edit === byId("edit-name").value && metric in one.values);

  function drawEdits(side) {
    const metric = byId(`edit-${side}`).value;
    const edit = byId("edit-name").value;
    const lines = chosenLines(metric);
    const traces = lines.map((one) => ({
      x: one.strengths, y: one.values[metric], mode: "lines+markers", name: plain(one.label), line: { color: style(one.method).color, width: 1.5 },
      marker: { ...style(one.method), size: 7 }, error_y: whiskers(one.values[metric], one.ends[metric], style(one.method).color),
      customdata: one.ends[metric].map(range), hovertemplate: `${plain(one.label)}<br>%{x:+g}: %{y:.5g}%{customdata}<extra></extra>`,
    }));
    const target = data.targets[edit];
    if (nameOf(metric) === `${edit}_change` && target) {
      const reference = { mode: "lines", hoverinfo: "skip" };
      if (target.per_strength !== null) {
        const x = unique([0, ...lines.flatMap((one) => one.strengths)]).sort((a, b) => a - b);
        traces.push({ ...reference, x, y: x.map((one) => one * target.per_strength), name: "asked for", line: { dash: "dash", width: 1.5, color: quiet() } });
      }
      // The true change belongs to the images, not to a method; it is taken from the first line that has it.
      const known = lines.map((one) => ({ one, id: Object.keys(one.values).find((id) => nameOf(id) === "true_change") })).find(({ id }) => id);
      if (known) {
        traces.push({ ...reference, x: known.one.strengths, y: known.one.values[known.id], name: "true", line: { dash: "dot", width: 2, color: quiet() } });
      }
    }
    draw(byId(`edit-${side}-plot`), traces, { title: `strength of ${plain(edit)}` }, { title: metric ? title(metric) : "" });
  }

  // The kept value against the change of the attribute: one line per method, one point per strength.
  function drawKept() {
    const metric = byId("edit-kept").value;
    const edit = byId("edit-name").value;
    const change = Object.keys(data.metrics).find((id) => nameOf(id) === `${edit}_change` && chosenLines(id).length);
    const traces = (change ? chosenLines(metric) : []).filter((one) => change in one.values).map((one) => {
      const [x, y, colour] = [one.values[change], one.values[metric], style(one.method).color];
      return {
        x, y, mode: "lines+markers", name: plain(one.label), line: { color: colour, width: 1.5 }, marker: { ...style(one.method), size: 7 },
        error_x: whiskers(x, one.ends[change], colour), error_y: whiskers(y, one.ends[metric], colour), customdata: one.strengths,
        hovertemplate: `${plain(one.label)}, strength %{customdata:+g}<br>change %{x:.4g}: %{y:.5g}<extra></extra>`,
      };
    });
    draw(byId("edit-kept-plot"), traces, { title: change ? title(change) : `no metric measures the change of ${plain(edit)}` }, { title: metric ? title(metric) : "" });
  }

  function chooseEdit() {
    const edit = byId("edit-name").value;
    const dataset = byId("edit-dataset").value;
    const known = ordered(measured(data.edits.filter((one) => one.edit === edit && one.dataset === dataset)));
    const left = known.find((id) => nameOf(id) === `${edit}_change`) ?? known[0];
    fill(byId("edit-left"), known, left);
    fill(byId("edit-right"), known, known.find((id) => nameOf(id).startsWith("truth_")) ?? known.find((id) => id !== left));
    const kept = known.filter((id) => id !== left);
    fill(byId("edit-kept"), kept, kept.includes(byId("edit-kept").value) ? byId("edit-kept").value : kept.find((id) => nameOf(id) === "id_kept"));
    drawEdits("left");
    drawEdits("right");
    drawKept();
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
    for (const row of document.querySelectorAll("table.equal tbody tr")) row.hidden = row.dataset.edit !== edit;
    // Hide columns that have no value for this edit.
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
      byId("edit-kept").addEventListener("change", drawKept);
      byId("edit-strength").addEventListener("change", filterTable);
      chooseEdit();
    }
    chooseTime();
  }

  const redraw = () => { drawTime(); if (byId("edit-name")) { drawEdits("left"); drawEdits("right"); drawKept(); } };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  start();
})();
