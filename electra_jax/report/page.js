'use strict';
// Draws the charts and the text of this page from the JSON that stands in it. Texts are only ever
// set as text, never as HTML.

const data = JSON.parse(document.getElementById('data').textContent);
const find = (selector, root = document) => root.querySelector(selector);
const hiddenRuns = new Set();
let axis = 'steps';

function element(parent, name, attributes = {}, text = '') {
  const made = parent.namespaceURI.includes('svg') || name === 'svg'
    ? document.createElementNS('http://www.w3.org/2000/svg', name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  parent.append(made);
  return made;
}

// ---- numbers

function short(value, largest) { // on an axis whose largest value is known
  const size = Math.abs(value);
  if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
  if (size >= 1e3 && largest >= 1e4) return `${+(value / 1e3).toPrecision(3)}k`;
  if (size > 0 && size < 1e-3) return value.toExponential().replace(/(\.\d\d)\d+/, '$1');
  return (+value.toPrecision(6)).toLocaleString('en', {maximumFractionDigits: 6});
}

function exact(value) { // in a sentence
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(2);
  return (+value.toPrecision(4)).toLocaleString('en', {maximumFractionDigits: 6});
}

function linearTicks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find(factor => factor * power >= rough) * power;
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at++) ticks.push(at * step);
  return ticks;
}

function logTicks(low, high) {
  const factors = high / low > 300 ? [1] : high / low > 8 ? [1, 3] : [1, 1.5, 2, 3, 5, 7], ticks = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
    for (const factor of factors) ticks.push(+(factor * 10 ** power).toPrecision(3));
  }
  return ticks.filter(tick => tick >= low && tick <= high);
}

// ---- charts

const minutes = data.charts.flatMap(chart => chart.curves).flatMap(curve => curve.minutes || []);
const longest = minutes.reduce((a, b) => Math.max(a, b), 0);
const [inUnit, timeUnit] = longest > 4320 ? [1440, 'days'] : longest > 180 ? [60, 'hours'] : [1, 'minutes'];
const across = curve => (axis === 'time' ? (curve.minutes || []).map(minute => minute / inUnit) : curve.x);
// All charts have the same horizontal axis.
const furthest = () => data.charts.flatMap(chart => chart.curves)
  .filter(curve => !hiddenRuns.has(curve.run)).flatMap(across).reduce((a, b) => Math.max(a, b), 0) || 1;
const isSingle = data.runs.length === 1;
const colourOf = curve => (isSingle ? curve.kind : curve.run % 8);

function scales(chart, curves, width, height) {
  const band = axis === 'steps' && chart.reference;
  let ys = curves.flatMap(curve => curve.y);
  if (chart.level) ys.push(chart.level.value);
  if (band) ys = ys.concat(band.low, band.high);
  if (chart.log) ys = ys.filter(y => y > 0);
  let [low, high] = ys.reduce(([a, b], y) => [Math.min(a, y), Math.max(b, y)], [Infinity, -Infinity]);
  const pad = chart.log ? 1.05 : (high - low) * (chart.level ? 0.13 : 0.06) || Math.abs(high) * 0.1 || 1;
  [low, high] = chart.log ? [low / pad, high * pad] : [low >= 0 ? Math.max(low - pad, 0) : low - pad, high + pad];
  const place = chart.log ? Math.log : y => y;
  const end = furthest();
  const [left, right, top, bottom] = [52, 12, 10, 36];
  return {
    band, low, high, end, left, top, right: width - right, bottom: height - bottom,
    x: value => left + value / end * (width - left - right),
    y: value => height - bottom - (place(value) - place(low)) / (place(high) - place(low)) * (height - top - bottom),
  };
}

function draw(figure) {
  const chart = data.charts[figure.dataset.chart], plot = find('.plot', figure);
  const width = Math.max(plot.clientWidth, 260), height = 220;
  const curves = chart.curves.filter(curve => !hiddenRuns.has(curve.run) && across(curve).length);
  plot.replaceChildren();
  const svg = element(plot, 'svg', {viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': chart.title});
  if (!curves.length) {
    element(svg, 'text', {x: 8, y: 30}, axis === 'time' ? 'no times were measured' : 'nothing is chosen');
    find('.readout', figure).replaceChildren();
    return;
  }
  const scale = scales(chart, curves, width, height);
  for (const tick of chart.log ? logTicks(scale.low, scale.high) : linearTicks(scale.low, scale.high, 4)) {
    const y = scale.y(tick);
    element(svg, 'line', {class: 'grid', x1: scale.left, x2: scale.right, y1: y, y2: y});
    element(svg, 'text', {x: scale.left - 7, y: y + 4, 'text-anchor': 'end'}, short(tick, scale.high));
  }
  for (const tick of linearTicks(0, scale.end, 4)) {
    const isLast = scale.x(tick) > scale.right - 12;
    element(svg, 'text', {x: scale.x(tick), y: scale.bottom + 16, 'text-anchor': isLast ? 'end' : 'middle'}, short(tick, scale.end));
  }
  element(svg, 'text', {x: (scale.left + scale.right) / 2, y: height - 4, 'text-anchor': 'middle'},
    axis === 'steps' ? 'training step' : `${timeUnit} since the start`);
  if (scale.band) drawBand(svg, scale);
  const hasTwoKinds = chart.curves.some(curve => curve.kind !== chart.curves[0].kind);
  for (const curve of curves) drawCurve(svg, curve, hasTwoKinds, scale);
  if (chart.level) drawLevel(svg, chart.level, curves, scale);
  if (chart.start && axis === 'steps') drawStart(svg, chart.start, curves, scale);
  follow(svg, figure, curves, scale);
}

function drawBand(svg, scale) {
  const inside = scale.band.x.map((x, at) => at).filter(at => scale.band.x[at] <= scale.end);
  const corner = side => at => `${scale.x(scale.band.x[at])},${scale.y(scale.band[side][at])}`;
  const points = [...inside.map(corner('low')), ...inside.reverse().map(corner('high'))];
  element(svg, 'polygon', {class: 'band', points: points.join(' ')});
}

function drawCurve(svg, curve, hasTwoKinds, scale) {
  const xs = across(curve);
  const points = xs.map((x, at) => [scale.x(x), scale.y(curve.y[at])]).filter(([, y]) => Number.isFinite(y));
  const faint = !isSingle && hasTwoKinds && curve.kind === 0 ? ' faint' : '';
  const broken = !isSingle && curve.run >= 8 ? ' broken' : '';
  const colour = `c${colourOf(curve)}`;
  element(svg, 'polyline', {class: `line ${colour}${faint}${broken}`, points: points.map(point => point.join()).join(' ')});
  if (curve.dots && points.length <= 40) {
    for (const [cx, cy] of points) element(svg, 'circle', {class: `dot ${colour}`, cx, cy, r: 2.6});
  }
}

// Writes a text at the one of some places, given by its end and its base, that is least crowded.
function annotate(svg, text, ends, bases, curves, scale) {
  const size = text.length * 6.6;
  const points = curves.flatMap(curve => across(curve).map((x, at) => [scale.x(x), scale.y(curve.y[at])]));
  const places = ends(size).flatMap(end => bases.map(base => [end, base]));
  const crowd = ([end, base]) => points.filter(([x, y]) =>
    x > end - size - 8 && x < end + 8 && y > base - 15 && y < base + 6).length
    + 1000 * (base < scale.top + 8 || base > scale.bottom - 2 || end - size < scale.left || end > scale.right);
  const [x, y] = places.reduce((best, place) => (crowd(place) < crowd(best) ? place : best));
  element(svg, 'text', {x, y, 'text-anchor': 'end'}, text);
}

// A value to compare with.
function drawLevel(svg, level, curves, scale) {
  const y = scale.y(level.value);
  element(svg, 'line', {class: 'level', x1: scale.left, x2: scale.right, y1: y, y2: y});
  annotate(svg, level.name, size => [scale.right, scale.left + size + 4], [y - 5, y + 14], curves, scale);
}

// Where the discriminator begins to be trained: before it, its curves mean nothing.
function drawStart(svg, step, curves, scale) {
  const x = scale.x(Math.min(step, scale.end));
  if (step <= scale.end) element(svg, 'line', {class: 'level', x1: x, x2: x, y1: scale.top, y2: scale.bottom});
  const bases = [scale.top + 12, (scale.top + scale.bottom) / 2, scale.bottom - 8];
  annotate(svg, `trained from step ${step.toLocaleString('en')}`, size => [x - 6, x + 6 + size], bases, curves, scale);
}

// The values at a step below a chart: of the newest one, or of the one under the pointer.
function follow(svg, figure, curves, scale) {
  const cursor = element(svg, 'line', {class: 'cursor', y1: scale.top, y2: scale.bottom, visibility: 'hidden'});
  const nearest = (curve, x) => across(curve).reduce((best, value, at, all) =>
    (Math.abs(value - x) < Math.abs(all[best] - x) ? at : best), 0);
  const show = x => {
    const readout = find('.readout', figure);
    readout.replaceChildren();
    const at = axis === 'steps' ? `step ${Math.round(x).toLocaleString('en')}` : `${exact(x)} ${timeUnit}`;
    element(readout, 'span', {}, at);
    const shown = isSingle ? curves : curves.filter(curve => curve.kind === curves[curves.length - 1].kind);
    for (const curve of shown.slice(0, 12)) {
      const line = element(readout, 'span');
      element(line, 'i', {class: `swatch c${colourOf(curve)}`});
      const newest = nearest(curve, x), value = exact(curve.y[newest]), there = across(curve)[newest];
      const isOther = Math.abs(there - x) > scale.end / 20; // a run that has not come so far
      line.append(`${isSingle ? curve.label : data.runs[curve.run]} ${value}`);
      if (isOther) line.append(` (at ${short(Math.round(there), scale.end)})`);
    }
  };
  svg.addEventListener('pointermove', event => {
    const box = svg.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    const wanted = (at - scale.left) / (scale.right - scale.left) * scale.end;
    const main = curves[curves.length - 1], x = across(main)[nearest(main, wanted)];
    cursor.setAttribute('x1', scale.x(x));
    cursor.setAttribute('x2', scale.x(x));
    cursor.setAttribute('visibility', 'visible');
    show(x);
  });
  svg.addEventListener('pointerleave', () => {
    cursor.setAttribute('visibility', 'hidden');
    show(scale.end);
  });
  show(scale.end);
}

const drawAll = () => document.querySelectorAll('figure').forEach(draw);

for (const button of document.querySelectorAll('#axis button')) {
  button.addEventListener('click', () => {
    axis = button.value;
    for (const one of document.querySelectorAll('#axis button')) one.setAttribute('aria-pressed', one === button);
    drawAll();
  });
}
for (const box of document.querySelectorAll('#runs input')) {
  box.addEventListener('change', () => {
    if (box.checked) hiddenRuns.delete(+box.value); else hiddenRuns.add(+box.value);
    drawAll();
  });
}
let drawnWidth = 0;
new ResizeObserver(([entry]) => {
  if (entry.contentRect.width !== drawnWidth) drawAll();
  drawnWidth = entry.contentRect.width;
}).observe(find('main'));

// ---- held-out text

function startText() {
  const [which, slider, play, buttons] = ['#which', '#step', '#play', '#texts'].map(id => find(id));
  let text = 0, timer = null;
  const stop = () => { clearInterval(timer); timer = null; play.textContent = 'play'; };
  const show = () => {
    const shown = data.sentences[which.value], tokens = shown.texts[slider.value][text] || [];
    find('#at').textContent = `after step ${shown.steps[slider.value].toLocaleString('en')}`;
    slider.setAttribute('aria-valuetext', find('#at').textContent);
    find('#tokens').replaceChildren();
    let word = null; // whose pieces stay together
    for (const [read, was, doubt, begins] of tokens) {
      const kinds = `token${begins ? ' begins' : ''}${was ? ' replaced' : ''}`;
      if (begins || !word || word.textContent.length > 20) { // scripts without spaces break anywhere
        if (begins) find('#tokens').append(' ');
        word = element(find('#tokens'), 'span', {class: 'word'});
      }
      const token = element(word, 'span', {class: kinds, title: `doubt ${doubt / 100}`});
      token.style.setProperty('--p', doubt);
      element(token, 'b', {}, read);
      if (was) element(token, 'small', {}, was);
    }
    find('#counts').textContent = countsOf(tokens);
    for (const one of buttons.children) one.setAttribute('aria-pressed', +one.value === text);
  };
  const open = () => {
    const shown = data.sentences[which.value], last = shown.steps.length - 1;
    slider.max = last;
    slider.value = last;
    text = 0;
    buttons.replaceChildren();
    shown.texts[last].forEach((_, number) => {
      const button = element(buttons, 'button', {type: 'button', value: number}, `text ${number + 1}`);
      button.addEventListener('click', () => { text = number; show(); });
    });
    show();
  };
  play.addEventListener('click', () => {
    if (timer) { stop(); return; }
    if (slider.value === slider.max) slider.value = 0;
    play.textContent = 'pause';
    timer = setInterval(() => {
      if (slider.value === slider.max) stop(); else slider.value = +slider.value + 1;
      show();
    }, 400);
    show();
  });
  slider.addEventListener('input', () => { stop(); show(); });
  which.addEventListener('change', () => { stop(); open(); });
  open();
}

function countsOf(tokens) {
  const mean = some => (some.length ? (some.reduce((sum, token) => sum + token[2], 0) / some.length / 100).toFixed(2) : '–');
  const replaced = tokens.filter(token => token[1]), others = tokens.filter(token => !token[1]);
  return `${replaced.length} of ${tokens.length} tokens were replaced. Mean doubt: ${mean(replaced)} at replaced `
    + `tokens, ${mean(others)} at original ones.`;
}

if (data.sentences.length) startText();
