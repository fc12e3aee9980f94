// The front end of the reviewer of records. Python holds the state; this shows it and sends what was done.
// Foreign texts get here as `textContent` and `value` only.

const KEYS = [
  ['j k ↓ ↑', 'next, previous value'], ['a', 'this value is right'],
  ['A', 'all that is left of this page is right'],
  ['e', 'type what stands there'], ['o', 'take the other reading'], ['b', 'blank: nothing stands there'],
  ['x', 'unsure'], ['m', 'missing: draw a box on the page with the mouse'], ['u', 'undo'], ['n', 'write a note'],
  ['[ ]', 'previous, next page'], ['z', 'zoom the page'], ['s', 'order'], ['?', 'this list'],
  ['Esc', 'back to the notebook'],
];
const NEAR = 3; // times the page is enlarged by z

export default {
  render({model, el: host}) {
    const ui = build();
    const {root} = ui;
    host.append(root);
    const drafts = {}, urls = {}, old = {};
    let kept = 0, keptKey = '', drawing = null, box = null, near = false, due = false;
    let shown = '', page = '', laid = false, reading = 0;
    const view = () => model.get('view'), item = () => view().item || {};
    const toRoot = () => root.focus({preventScroll: true});

    // ---- to Python, and whether it answers
    const {send, answered, say, patient, close: disconnect} = connect(model, host, ui);
    const judge = (what, more = {}) => send(what, {key: item().key || '', ...more});
    const onAnswer = (msg) => {
      if (msg.busy) { patient(); ui.say.textContent = msg.busy + ' …'; }
      if (msg.answer === undefined) return;
      answered(msg.answer); say(msg);
      if (msg.bad) return msg.answer === kept && ui.text.focus();
      if (msg.answer === kept) { delete drafts[keptKey]; toRoot(); }
      if (msg.answer === reading) { if (!ui.newText.value) ui.newText.value = msg.read || ''; }
      if (msg.done === 'add') closeNew();
    };

    // ---- the page and its boxes
    const url = (name, data, type) => {
      URL.revokeObjectURL(urls[name]);
      return (urls[name] = data?.byteLength ? URL.createObjectURL(new Blob([data], {type})) : '');
    };
    const put = (img, node, to) => { node.hidden = !to; img.src = to || BLANK; };
    const isNew = (name) => old[name] !== (old[name] = model.get(name));
    const at = (node, [x0, y0, x1, y1]) => {
      Object.assign(node.style, {left: 100 * x0 + '%', top: 100 * y0 + '%', width: 100 * (x1 - x0) + '%',
        height: 100 * (y1 - y0) + '%'});
      return node;
    };
    function showPage() {
      const v = view();
      if (isNew('picture')) put(ui.img, ui.img, url('page', old.picture, 'image/jpeg'));
      ui.img.alt = `scan of ${v.file}`;
      ui.lost.hidden = !v.lost; ui.lost.textContent = v.lost;
      ui.boxes.replaceChildren(...v.rows.flatMap((r, i) => (r.box.length ? [boxOf(r, i)] : [])));
      if (page !== (page = v.page)) { closeNew(); fit(); }
      if (near) center();
    }
    const boxOf = (r, i) => {
      const node = at(el('div', {className: `box ${r.state}${i === view().at ? ' here' : ''}`,
        title: `${r.place}: ${r.text}`}), r.box);
      node.dataset.i = i;
      return node;
    };
    function fit() {
      const [w, h] = view().size || [], {clientWidth, clientHeight} = ui.frame;
      if (!w || !clientWidth) return;
      ui.sheet.style.width = Math.round(Math.min(clientWidth, clientHeight * w / h) * (near ? NEAR : 1)) + 'px';
      if (near) center();
    }
    function center() {
      const here = ui.boxes.querySelector('.here');
      if (!here) return;
      ui.frame.scrollLeft = here.offsetLeft + here.offsetWidth / 2 - ui.frame.clientWidth / 2;
      ui.frame.scrollTop = here.offsetTop + here.offsetHeight / 2 - ui.frame.clientHeight / 2;
    }

    // ---- its values
    function showRows() {
      const v = view();
      const to = isNew('strip') ? url('strip', old.strip, 'image/png') : urls.strip;
      ui.rows.replaceChildren(...v.rows.map((r, i) => rowOf(r, i, v, to)));
      ui.rows.setAttribute('aria-activedescendant', v.at < 0 ? '' : ui.id + v.at);
      const node = ui.rows.children[v.at];
      if (!node) return;
      const top = node.offsetTop, {scrollTop, clientHeight} = ui.rows;
      if (top < scrollTop || top + node.offsetHeight > scrollTop + clientHeight) {
        ui.rows.scrollTop = top - clientHeight / 3;
      }
    }
    function rowOf(r, i, v, strip) {
      const cell = (className, textContent) => el('span', {className, textContent});
      const ink = cell('ink', '');
      if (strip) { ink.style.backgroundImage = `url("${strip}")`; ink.style.backgroundPosition = `0 ${-i * v.high}px`; }
      const node = el('div', {id: ui.id + i, role: 'option', className: 'row ' + r.state, 'aria-selected': i === v.at,
        'aria-posinset': i + 1, 'aria-setsize': v.rows.length, title: r.flags,
        'aria-label': `${r.place}: ${r.text}, ${r.state}, confidence ${r.sure} ${r.flags}`},
      cell('sign', r.sign), cell('place', r.short), ink, cell('text', r.text),
      cell('num' + (r.sure < .5 ? ' low' : ''), r.flags ? '⚑' + r.sure : r.sure));
      node.addEventListener('click', () => send('at', {at: i}));
      return node;
    }
    function showItem() {
      const it = item(), v = view();
      ui.file.textContent = v.file; ui.where.textContent = v.where;
      ui.counts.textContent = Object.entries(v.counts || {}).map(([s, n]) => `${n} ${s}`).join(' · ');
      if (isNew('cell')) put(ui.cell, ui.cellBox, url('cell', old.cell, 'image/png'));
      ui.mark.hidden = !(it.at || []).length;
      if (!ui.mark.hidden) at(ui.mark, it.at);
      ui.cell.alt = it.place ? `${it.place} on the scan` : '';
      const draft = drafts[it.key];
      ui.name.textContent = it.place || 'no value was found on this page';
      if (document.activeElement !== ui.text || shown !== it.key) ui.text.value = draft ?? it.text ?? '';
      if (document.activeElement !== ui.note || shown !== it.key) ui.note.value = it.note || '';
      shown = it.key;
      ui.unsaved.hidden = draft === undefined || draft === it.text;
      ui.state.textContent = it.key ? `${it.sign} ${it.state}` : '';
      ui.other.hidden = !it.other; ui.other.querySelector('span').textContent = it.other || '';
      const facts = {read: it.text === it.was ? '' : it.was, means: it.value, confidence: it.sure, by: it.how,
        flags: it.flags, said: it.said};
      ui.facts.textContent = Object.entries(facts).filter(([, f]) => f).map(([k, f]) => `${k}: ${f}`).join('   ');
      options(ui.by, v.orders, v.by); options(ui.which, v.shown.map((s) => [s, s]), v.which);
    }

    // ---- a value that was not found
    function startDrawing(is) {
      drawing = null; root.classList.toggle('drawing', is);
      if (is) ui.say.textContent = 'draw a box around the value with the mouse; Esc: not now';
    }
    const placeIn = (e) => {
      const r = ui.sheet.getBoundingClientRect();
      return [(e.clientX - r.left) / r.width, (e.clientY - r.top) / r.height].map((s) => Math.min(1, Math.max(0, s)));
    };
    const ordered = ([a, b], [c, d]) => [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)];
    ui.sheet.addEventListener('pointerdown', (e) => {
      const own = e.target.dataset.i;
      if (!root.classList.contains('drawing')) return own !== undefined && send('at', {at: Number(own)});
      e.preventDefault(); drawing = placeIn(e); ui.sheet.setPointerCapture(e.pointerId);
    });
    ui.sheet.addEventListener('pointermove', (e) => {
      if (drawing) { ui.fresh.hidden = false; at(ui.fresh, ordered(drawing, placeIn(e))); }
    });
    ui.sheet.addEventListener('pointerup', (e) => {
      if (!drawing) return;
      box = ordered(drawing, placeIn(e)); startDrawing(false);
      ui.fresh.hidden = false; at(ui.fresh, box);
      ui.fresh.scrollIntoView({block: 'nearest'});
      ui.form.hidden = false; ui.newPlace.value = ui.newText.value = '';
      ui.places.replaceChildren(...view().places.map((value) => el('option', {value})));
      reading = send('read', {box});
      setTimeout(() => ui.newPlace.focus());
    });
    function closeNew() { box = null; ui.form.hidden = ui.fresh.hidden = true; startDrawing(false); }
    function completePlace() { // a beginning is enough
      const typedIn = ui.newPlace.value.trim().toLowerCase().replaceAll(' ', '_'), {places} = view();
      const fits = [(p) => p === typedIn, (p) => p.startsWith(typedIn), (p) => p.includes(typedIn)];
      ui.newPlace.value = fits.map((f) => places.find(f)).find((p) => p) ?? typedIn;
    }
    const add = () => {
      completePlace();
      if (box) send('add', {box, place: ui.newPlace.value, text: ui.newText.value});
      toRoot();
    };

    // ---- keys
    const fields = [ui.text, ui.note, ui.newPlace, ui.newText];
    function closeFirst() { // what Esc closes before it gives the focus back
      const open = root.classList.contains('drawing') || !!box;
      if (open) closeNew();
      return open;
    }
    const step = (by) => () => send('go', {by});
    const acts = {
      j: step(1), k: step(-1), ArrowDown: step(1), ArrowUp: step(-1), PageDown: step(10), PageUp: step(-10),
      a: () => judge('ok'), A: () => send('page'), o: () => judge('take'), b: () => judge('blank'),
      x: () => judge('unsure'), u: () => send('undo'), e: () => { ui.text.focus(); ui.text.select(); },
      n: () => ui.note.focus(), s: () => ui.by.focus(), m: () => startDrawing(true),
      '[': () => send('turn', {by: -1}), ']': () => send('turn', {by: 1}), z: () => { near = !near; fit(); },
    };
    function typedInField(e, where) {
      if (e.key === 'Escape') { e.preventDefault(); if (box) closeNew(); toRoot(); }
      if (e.key !== 'Enter') return;
      e.preventDefault();
      if (where === ui.newPlace) { completePlace(); ui.newText.focus(); return ui.newText.select(); }
      if (where === ui.newText) return add();
      if (where === ui.note) { judge('note', {text: ui.note.value}); return toRoot(); }
      keptKey = item().key; kept = judge('fix', {text: ui.text.value});
    }
    const keys = keyboard(host, ui, {fields, acts, once: 'aAobxu', typedInField, closeFirst});

    // ---- the mouse
    ui.other.addEventListener('click', () => { acts.o(); toRoot(); });
    ui.addButton.addEventListener('click', add);
    ui.text.addEventListener('input', () => {
      drafts[item().key] = ui.text.value;
      ui.unsaved.hidden = ui.text.value === item().text;
    });
    for (const node of [ui.by, ui.which]) {
      node.addEventListener('change', () => send('order', {by: ui.by.value, which: ui.which.value}));
    }
    root.addEventListener('mousedown', (e) => {
      if (!e.target.closest('button, input, select')) setTimeout(toRoot);
    });
    ui.img.addEventListener('dragstart', (e) => e.preventDefault());
    const fitCell = () => {
      const {naturalWidth: w, naturalHeight: h} = ui.cell, {clientWidth, clientHeight} = ui.cellBox.parentNode;
      if (w && clientWidth) ui.cellBox.style.width = Math.round(w * Math.min(clientWidth / w, clientHeight / h)) + 'px';
    };
    ui.cell.addEventListener('load', fitCell);
    const watch = new ResizeObserver(() => {
      fit(); fitCell();
      if (!laid && ui.frame.clientWidth) { laid = true; keys.takeFocus(); }
    });
    watch.observe(ui.frame);

    const draw = () => { due = false; if (view().rows) { showItem(); showPage(); showRows(); } };
    const onChange = () => { if (!due) { due = true; queueMicrotask(draw); } }; // several traits come in one message
    const traits = ['view', 'picture', 'strip', 'cell'];
    for (const trait of traits) model.on('change:' + trait, onChange);
    model.on('msg:custom', onAnswer);
    draw();
    return () => {
      keys.close(); disconnect();
      for (const trait of traits) model.off('change:' + trait, onChange);
      model.off('msg:custom', onAnswer);
      watch.disconnect();
      for (const u of Object.values(urls)) URL.revokeObjectURL(u);
    };
  },
};

const BLANK = 'data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==';

function build() {
  const ui = messages(KEYS);
  const button = (key, text) => (ui.buttons[key] = el('button', {type: 'button', 'aria-keyshortcuts': key,
    'aria-label': text}, text + ' ', kbd(key)));
  const span = (className, props = {}) => el('span', {className, ...props});
  const input = (more) => el('input', {type: 'text', spellcheck: false, autocomplete: 'off', ...more});

  // the page
  ui.img = el('img', {draggable: false}); ui.boxes = div('boxes'); ui.fresh = div('fresh'); ui.fresh.hidden = true;
  ui.sheet = div('sheet', ui.img, ui.boxes, ui.fresh); ui.lost = el('p', {className: 'lost', hidden: true});
  ui.frame = el('div', {className: 'frame', tabIndex: 0, 'aria-label': 'Page; click a box for its value'}, ui.sheet,
    ui.lost);

  // its values, and the one that is looked at
  ui.rows = el('div', {className: 'list', role: 'listbox', tabIndex: 0, 'aria-label': 'Values of the page'});
  ui.cell = el('img', {draggable: false}); ui.mark = div('mark'); ui.cellBox = div('cellbox', ui.cell, ui.mark);
  ui.name = el('strong'); ui.state = span('tag'); ui.facts = el('p', {className: 'facts'});
  ui.text = input(); ui.note = input({placeholder: 'a remark for the next reviewer'});
  ui.unsaved = span('unsaved', {hidden: true, textContent: '● not kept yet'});
  ui.other = el('button', {type: 'button', hidden: true, 'aria-keyshortcuts': 'o'}, 'or: ', el('span'), ' ', kbd('o'));

  // a new one
  ui.places = el('datalist', {id: ui.id + 'places'});
  ui.newPlace = input({placeholder: 'company, run1_date …'}); ui.newPlace.setAttribute('list', ui.places.id);
  ui.newText = input(); ui.addButton = el('button', {type: 'button', textContent: 'Add it'});
  ui.form = div('line form', label('Field', ui.newPlace), label('Text', ui.newText), ui.addButton, ui.places);
  ui.form.hidden = true;

  // heads
  ui.file = el('strong'); ui.where = el('span'); ui.counts = el('output');
  ui.by = el('select', {'aria-label': 'Order'}); ui.which = el('select', {'aria-label': 'Show'});
  const marks = Object.entries({k: 'Back', j: 'Next', a: 'Right', A: 'All right', e: 'Type', b: 'Blank', x: 'Unsure',
    m: 'Missing', u: 'Undo'}).map(([key, text]) => button(key, text));
  ui.root = el('div', {className: 'wl reviewer', tabIndex: 0, role: 'region',
    'aria-label': 'Reviewer of records; press ? for its keys, Escape for the notebook'},
  div('line top', button('[', '◀ Page'), button(']', 'Page ▶'), ui.file, ui.where, ui.counts, ui.by, ui.which),
  div('status', ui.say, ui.cover), ui.help,
  div('both', ui.frame, el('section', {className: 'side', 'aria-label': 'Values'},
    ui.rows, div('cellframe', ui.cellBox),
    div('line', ui.name, ui.state, ui.other, ui.unsaved), ui.facts, div('line edit', label('Text', ui.text),
      el('label', {className: 'small'}, 'Note ', ui.note)), ui.form)),
  div('line acts', ...marks, button('z', 'Zoom'), ui.helpButton), ui.alarm);
  return ui;
}
