const d = JSON.parse(document.getElementById('data').textContent);
const [text, said, names, units, scale, maps] = ['text', 'said', 'name', 'unit', 'scale', 'maps']
  .map(id => document.getElementById(id));
const WIDTH = 15, LABELS = 72, LEAN = 40;  // of a column, of the tokens above it, and how far they lean, in pixels
let chosen = d.tokens.length - 1;  // token 0 is given: the model is not asked for it

const mode = () => document.querySelector('input[name=mode]:checked').value;
const near = v => v === null ? 'not a number' : Number(v.toPrecision(3)).toString();
const visible = t => t === '\n' ? '\u21b5' : t;
const quoted = t => '\u201c' + visible(t) + '\u201d';
const size = values => values.reduce((most, v) => Math.max(most, Math.abs(v ?? 0)), 0) || 1;
const isShare = rows => rows.every(row => row.every(v => v === null || v >= 0 && v <= 1));

// --- The text ---

const spans = d.tokens.map((token, i) => {
  const span = document.createElement('span');
  span.textContent = token === '\n' ? '\u21b5\n' : token;
  span.id = 't' + i;
  span.setAttribute('role', 'option');
  span.className = (i ? '' : 'given') + (d.unknown[i] ? ' unknown' : '');
  if (i) span.onclick = () => choose(i); else span.setAttribute('aria-disabled', true);
  text.append(span, d.between);
  return span;
});

function color(v, most) {
  const share = Math.min(1, Math.abs(v ?? 0) / most);
  return `color-mix(in srgb, var(${v < 0 ? '--blue' : '--red'}) calc(var(--share) * ${share.toFixed(3)}), transparent)`;
}

// What each token's colour says in this mode: a value, the one at which the colour is full, and a word for it.
function colours() {
  if (mode() === 'nats') {
    const values = [0, ...d.nats];
    return {values, most: Math.max(8, size(values)), low: '0', unit: 'nats', root: false};
  }
  if (mode() === 'unit') {
    const rows = d.units[names.value], values = rows.map(row => row[units.value]);
    const share = isShare(rows), most = share ? 1 : size(values);
    return {values, most, low: share ? '0' : near(-most), unit: '', root: false};
  }
  const values = d.tokens.map((_, i) => i < chosen ? d.depends[chosen - 1][i] : 0);
  return {values, most: size(values), low: '0', unit: 'size of the gradient', root: true};
}

function show() {
  const {values, most, low, unit, root} = colours();
  spans.forEach((span, i) => {
    const v = values[i];
    span.style.background = color(root ? Math.sqrt(v / most) : v, root ? 1 : most);
    span.title = mode() === 'nats' && !i ? 'given' : `${near(v)} ${unit}`;
    if (i) span.setAttribute('aria-selected', i === chosen);
  });
  text.setAttribute('aria-activedescendant', 't' + chosen);
  const ends = low === '0' ? [0, 1] : [-1, 0, 1];
  scale.innerHTML = `${low}<i></i>${near(most)} ${unit}${root ? ', drawn by its root' : ''}`;
  scale.querySelector('i').style.background = `linear-gradient(to right, ${ends.map(v => color(v, 1)).join(',')})`;
  said.textContent = sentence(values);
  for (const marker of maps.querySelectorAll('i')) marker.style.left = `${chosen * WIDTH}px`;
}

function sentence(values) {
  const guesses = d.guesses[chosen - 1]
    .map(([t, p]) => `${quoted(t)} ${p === null ? near(p) : (100 * p).toFixed(1) + '%'}`).join(', ');
  let said = `${quoted(d.tokens[chosen])} after ${quoted(d.tokens[chosen - 1])}: ${near(d.nats[chosen - 1])} nats. `
    + `Expected: ${guesses}.`;
  if (d.unknown[chosen]) said += ' It is not in the vocabulary.';
  if (mode() === 'unit')
    said += ` ${names.value}, unit ${units.value}, after reading ${quoted(d.tokens[chosen])}: ${near(values[chosen])}.`;
  if (mode() === 'depends') {
    const sources = values.map((v, i) => [v, i]).slice(0, chosen).sort((a, b) => b[0] - a[0]).slice(0, 4);
    said += ' Depends most on: ' + sources.map(([v, i]) => `${quoted(d.tokens[i])} ${near(v)}`).join(', ') + '.';
  }
  return said;
}

function choose(i) {
  chosen = Math.max(1, Math.min(d.tokens.length - 1, i));
  show();
}

text.onkeydown = e => {
  const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[e.key];
  const end = {Home: 1, End: d.tokens.length - 1}[e.key];
  if (step || end) { e.preventDefault(); choose(end ?? chosen + step); }
};
document.querySelectorAll('input[name=mode]').forEach(e => e.onchange = show);

// --- Gates and states ---

function fill() {
  const kept = units.value, count = d.units[names.value][0].length;
  units.replaceChildren(...Array.from({length: count}, (_, j) => new Option('unit ' + j, j)));
  if (kept && kept < count) units.value = kept;
}
function use() {
  document.querySelector('input[value=unit]').checked = true;
  show();
}

function draw(canvas, rows) {
  const style = getComputedStyle(document.documentElement), ratio = devicePixelRatio || 1;
  const [ground, blue, red] = ['--ground', '--blue', '--red'].map(name => rgb(style.getPropertyValue(name).trim()));
  const most = isShare(rows) ? 1 : Math.max(...rows.map(size));
  const height = rowHeight(rows), tall = LABELS + height * rows[0].length;
  const wide = rows.length * WIDTH + LEAN;
  canvas.width = wide * ratio;
  canvas.height = tall * ratio;
  canvas.style.width = `${wide}px`;
  canvas.style.height = `${tall}px`;
  const ink = canvas.getContext('2d');
  ink.scale(ratio, ratio);
  ink.fillStyle = style.getPropertyValue('--ink');
  ink.font = '11px system-ui, sans-serif';
  rows.forEach((row, i) => {
    ink.save();
    ink.translate(i * WIDTH + 11, LABELS - 4);
    ink.rotate(-Math.PI / 3);
    ink.fillText(visible(d.tokens[i]).slice(0, 10), 0, 0);
    ink.restore();
  });
  rows.forEach((row, i) => row.forEach((v, j) => {
    const end = v < 0 ? blue : red, share = v === null ? 0 : Math.abs(v) / most;
    ink.fillStyle = v === null ? '#c0a000' : `rgb(${ground.map((g, k) => Math.round(g + (end[k] - g) * share))})`;
    ink.fillRect(i * WIDTH, LABELS + j * height, WIDTH, height);
  }));
}
const rowHeight = rows => Math.max(2, Math.min(11, Math.floor(320 / rows[0].length)));
const rgb = hex => (hex.length === 4 ? [1, 2, 3].map(i => hex[i] + hex[i]) : [1, 3, 5].map(i => hex.slice(i, i + 2)))
  .map(part => parseInt(part, 16));

const canvases = Object.entries(d.units).map(([name, rows]) => {
  const figure = document.createElement('figure'), caption = document.createElement('figcaption');
  const wide = document.createElement('div'), map = document.createElement('div');
  const canvas = document.createElement('canvas'), marker = document.createElement('i');
  const most = isShare(rows) ? 1 : Math.max(...rows.map(size));
  caption.textContent = `${name}, ${rows[0].length} units: from ${isShare(rows) ? '0' : near(-most)} to ${near(most)}`;
  wide.className = 'wide';
  wide.tabIndex = 0;
  wide.setAttribute('role', 'group');
  wide.setAttribute('aria-label', name);
  map.className = 'map';
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', `a heat map of ${caption.textContent}`);
  marker.style.width = `${WIDTH}px`;
  map.append(canvas, marker);
  wide.append(map);
  figure.append(caption, wide);
  maps.append(figure);
  canvas.onclick = e => {
    names.value = name;
    fill();
    units.value = Math.max(0, Math.min(rows[0].length - 1, Math.floor((e.offsetY - LABELS) / rowHeight(rows))));
    choose(Math.floor(e.offsetX / WIDTH));
    use();
  };
  names.add(new Option(name));
  return [canvas, rows];
});
const redraw = () => canvases.forEach(([canvas, rows]) => draw(canvas, rows));
matchMedia('(prefers-color-scheme: dark)').onchange = redraw;

if (names.value) {
  names.onchange = () => { fill(); use(); };
  units.onchange = use;
  fill();
} else {
  document.querySelector('input[value=unit]').closest('label').hidden = true;
}
redraw();
show();
