// The front end of the inspector. Python holds the state; this shows it and sends what was done.
// Foreign texts get here in two ways only: as `textContent` or `value`, and inside `item.html` and `item.facts`,
// which Python has escaped.

const KEYS = [
  ['j / ↓', 'next sample'], ['k / ↑', 'previous sample'], ['a', 'accept: the label is right'],
  ['p', 'take the prediction as label'], ['e', 'edit the label'], ['d', 'drop the sample'], ['m', 'maybe: unsure'],
  ['n', 'write a note'], ['u', 'undo'], ['/', 'filter'], ['s', 'order'], ['r', 'apply order and filter again'],
  ['+ − 0', 'zoom in, out, fit'], ['?', 'this list'],
];
const HIGH = 27; // pixels of a row in the list
const SILENCE = 'The kernel does not answer: it is busy, or gone. What you did last is not written down yet. ' +
  'When it was restarted, run the cell again: all that was written is there.';

const el = (tag, props = {}, ...kids) => {
  const node = document.createElement(tag);
  for (const [k, v] of Object.entries(props)) k in node && k !== 'role' ? (node[k] = v) : node.setAttribute(k, v);
  node.append(...kids);
  return node;
};

export default {
  render({model, el: host}) {
    const ui = build();
    const {root} = ui;
    host.append(root);
    const drafts = {}, waiting = new Map();
    let sent = 0, scale = 0, shown = '', url = '', asked = -1, panned = null, drawn = null, due = false, at = -2;
    const item = () => model.get('item');
    const toRoot = () => root.focus({preventScroll: true});

    // ---- to Python, and whether it answers
    const send = (what, more = {}) => {
      const n = ++sent;
      waiting.set(n, setTimeout(() => { ui.alarm.hidden = false; ui.alarm.textContent = SILENCE; }, 4000));
      model.send({do: what, n, ...more});
    };
    const sendKey = (what, more = {}) => send(what, {key: item().key, ...more});
    const onAnswer = (msg) => {
      if (msg.answer === undefined) return;
      clearTimeout(waiting.get(msg.answer)); waiting.delete(msg.answer);
      if (!waiting.size) ui.alarm.hidden = true;
      if (msg.saved) delete drafts[msg.saved];
      ui.say.textContent = ''; ui.say.textContent = msg.say || '';
      ui.say.classList.toggle('bad', !!msg.bad);
      if (msg.saved || msg.moved) leaveEditor();
    };

    // ---- the sample
    function showItem() {
      const it = item();
      ui.detail.hidden = it.key === undefined;
      if (ui.detail.hidden) return;
      ui.place.textContent = it.place ? `${it.place} of ${it.total}` : 'not in this view';
      ui.name.textContent = it.name;
      ui.state.textContent = `${it.mark} ${it.state}`; ui.state.className = 'tag ' + it.state;
      ui.html.innerHTML = it.html; ui.facts.innerHTML = it.facts; // escaped by Python
      const draft = drafts[it.key];
      if (document.activeElement !== ui.text || shown !== it.key) ui.text.value = draft ?? it.text;
      ui.unsaved.hidden = draft === undefined || draft === it.text;
      ui.text.rows = Math.min(14, Math.max(1, it.text.split('\n').length));
      ui.note.value = it.note;
      ui.hint.textContent = it.lines ? 'Ctrl+Enter keeps it, Esc leaves' : 'Enter keeps it, Esc leaves';
      if (shown !== it.key) { shown = it.key; scale = 0; }
    }

    // ---- its picture
    function showPicture() {
      const data = model.get('picture'), it = item();
      if (data === drawn && ui.img.alt === it.alt) return;
      drawn = data;
      URL.revokeObjectURL(url);
      const there = data && data.byteLength > 0;
      ui.img.hidden = !there; ui.lost.hidden = there; ui.lost.textContent = it.lost || '';
      if (!there) return;
      url = URL.createObjectURL(new Blob([data], {type: it.type}));
      ui.img.alt = it.alt; ui.img.src = url;
    }
    function fit() {
      const w = ui.img.naturalWidth, h = ui.img.naturalHeight, room = ui.frame.clientWidth - 2;
      if (!w || room <= 0) return;
      const size = scale || Math.min(room / w, Math.max(1, 72 / h), 4);
      ui.img.style.width = Math.round(w * size) + 'px';
      ui.zoom.textContent = Math.round(100 * size) + ' %';
    }
    function zoom(by) { // 0: fit; the middle of what is seen stays there
      const {img, frame} = ui, now = img.clientWidth / (img.naturalWidth || 1);
      const x = (frame.scrollLeft + frame.clientWidth / 2) / img.clientWidth;
      const y = (frame.scrollTop + frame.clientHeight / 2) / img.clientHeight;
      scale = by ? Math.min(8, Math.max(.05, now * by)) : 0;
      fit();
      frame.scrollLeft = x * img.clientWidth - frame.clientWidth / 2;
      frame.scrollTop = y * img.clientHeight - frame.clientHeight / 2;
    }

    // ---- the list
    function showView() {
      const v = model.get('view');
      if (!v.columns) return;
      options(ui.sort, v.columns, v.sort);
      ui.up.textContent = v.up ? '↑ smallest first' : '↓ largest first'; ui.up.setAttribute('aria-pressed', v.up);
      const counts = Object.fromEntries(v.states.map(([s, n]) => [s, `${s} (${n})`]));
      options(ui.which, Object.keys(counts), v.which, counts);
      if (document.activeElement !== ui.filter) ui.filter.value = v.filter;
      ui.count.textContent = `${v.total} of ${v.all}`;
      ui.tall.style.height = v.total * HIGH + 'px';
      ui.rows.style.top = v.first * HIGH + 'px';
      ui.rows.replaceChildren(...v.rows.map((r, i) => row(r, v.first + i, v)));
      ui.list.setAttribute('aria-activedescendant', v.at < 0 ? '' : ui.id + v.at);
    }
    const row = ([mark, state, name, number, cer, text], i, v) => {
      const cell = (className, textContent) => el('span', {className, textContent});
      const node = el('div', {
        id: ui.id + i, role: 'option', className: 'row ' + state, title: `${name} · ${state}`,
        'aria-selected': i === v.at, 'aria-posinset': i + 1, 'aria-setsize': v.total,
        'aria-label': `${i + 1}, ${name}, ${state}, ${v.metric} ${number}, CER ${cer}: ${text}`,
      }, el('b', {textContent: mark}), cell('num', number), cell('num', cer), cell('what', text));
      node.addEventListener('click', () => send('at', {at: i}));
      return node;
    };
    function follow() { // keep the row of the sample in sight
      const v = model.get('view'), top = v.at * HIGH, {scrollTop, clientHeight} = ui.list;
      if (v.at < 0 || (top >= scrollTop && top + HIGH <= scrollTop + clientHeight)) return;
      ui.list.scrollTop = Math.max(0, top - clientHeight / 2);
    }
    const options = (node, names, chosen, titles = {}) => {
      const now = names.join() + Object.values(titles).join();
      if (node.dataset.now !== now) {
        node.dataset.now = now;
        node.replaceChildren(...names.map((n) => el('option', {value: n, textContent: titles[n] ?? n})));
      }
      node.value = chosen;
    };

    // ---- the editor
    const leaveEditor = () => { if ([ui.text, ui.note].includes(document.activeElement)) toRoot(); };
    const keep = () => sendKey('fix', {text: ui.text.value});
    ui.text.addEventListener('input', () => {
      drafts[item().key] = ui.text.value;
      ui.unsaved.hidden = ui.text.value === item().text;
    });

    // ---- keys: seen before anyone else sees them, and never passed on
    const step = (by) => () => send('go', {by});
    const toEnd = (node) => { node.focus(); node.setSelectionRange(node.value.length, node.value.length); };
    const showHelp = (there) => { ui.help.hidden = !there; ui.helpButton.setAttribute('aria-expanded', there); };
    const acts = {
      j: step(1), k: step(-1), ArrowDown: step(1), ArrowUp: step(-1), PageDown: step(10), PageUp: step(-10),
      Home: () => send('at', {at: 0}), End: () => send('at', {at: 1e9}), u: () => send('undo'), r: () => send('again'),
      a: () => sendKey('accept'), p: () => sendKey('take'), d: () => sendKey('drop'), m: () => sendKey('unsure'),
      e: () => toEnd(ui.text), n: () => ui.note.focus(), '/': () => ui.filter.focus(), s: () => ui.sort.focus(),
      '+': () => zoom(1.5), '=': () => zoom(1.5), '-': () => zoom(1 / 1.5), 0: () => zoom(0),
      '?': () => showHelp(ui.help.hidden), Escape: () => showHelp(false),
    };
    function typedInField(e, where, control) {
      if (e.key === 'Escape') { e.preventDefault(); toRoot(); }
      if (e.key !== 'Enter' || (!control && where === ui.text && (item().lines || e.shiftKey))) return; // a line break
      e.preventDefault();
      if (where === ui.text) return keep();
      where === ui.note ? sendKey('note', {text: ui.note.value}) : filter();
      toRoot();
    }
    function typed(e) {
      const control = e.ctrlKey || e.metaKey, where = e.composedPath()[0], field = where.tagName;
      if (control && e.key.toLowerCase() === 's') {
        e.preventDefault();
        ui.say.textContent = 'Nothing to save: all you did is written down already.';
        return;
      }
      if (e.isComposing) return;
      if ([ui.text, ui.note, ui.filter].includes(where)) return typedInField(e, where, control);
      if (control || e.altKey) { if (e.key === 'Enter') e.preventDefault(); return; }
      if (field === 'SELECT' && e.key !== 'Escape') return;
      if (field === 'BUTTON' && (e.key === 'Enter' || e.key === ' ')) return;
      if (e.key === 'Enter') e.preventDefault();
      if (field === 'SELECT') return toRoot();
      const act = acts[e.key];
      if (act && !(e.repeat && 'apdmu'.includes(e.key))) { e.preventDefault(); act(); } // held down, it marks only once
    }
    const guard = (e) => {
      if (!e.composedPath().includes(root)) return;
      e.stopImmediatePropagation();
      if (e.type === 'keydown') typed(e);
    };
    for (const type of ['keydown', 'keyup', 'keypress']) window.addEventListener(type, guard, true);

    // ---- the mouse
    for (const [name, button] of Object.entries(ui.buttons)) {
      button.addEventListener('click', () => { acts[name](); if (!'en'.includes(name)) toRoot(); });
    }
    ui.keep.addEventListener('click', keep);
    ui.helpButton.addEventListener('click', acts['?']);
    const filter = () => send('filter', {text: ui.filter.value, which: ui.which.value});
    const sort = (up) => send('sort', {column: ui.sort.value, up});
    for (const node of [ui.filter, ui.which]) node.addEventListener('change', filter);
    ui.sort.addEventListener('change', () => sort(model.get('view').up));
    ui.up.addEventListener('click', () => sort(!model.get('view').up));
    ui.list.addEventListener('scroll', () => {
      const v = model.get('view'), first = Math.floor(ui.list.scrollTop / HIGH);
      const there = first >= v.first && first + 20 <= v.first + v.rows.length;
      if (there || first === asked || v.rows.length === v.total) return;
      asked = first; send('window', {first});
    });
    root.addEventListener('mousedown', (e) => {
      if (!e.target.closest('button, input, textarea, select')) setTimeout(toRoot);
    });
    ui.frame.addEventListener('wheel', (e) => {
      if (e.ctrlKey || e.metaKey) { e.preventDefault(); zoom(e.deltaY < 0 ? 1.2 : 1 / 1.2); }
    }, {passive: false});
    ui.frame.addEventListener('pointerdown', (e) => {
      panned = {x: e.clientX + ui.frame.scrollLeft, y: e.clientY + ui.frame.scrollTop};
      ui.frame.setPointerCapture(e.pointerId);
    });
    ui.frame.addEventListener('pointermove', (e) => {
      if (panned) { ui.frame.scrollLeft = panned.x - e.clientX; ui.frame.scrollTop = panned.y - e.clientY; }
    });
    for (const t of ['pointerup', 'pointercancel']) ui.frame.addEventListener(t, () => { panned = null; });
    ui.img.addEventListener('load', fit);
    ui.img.addEventListener('dragstart', (e) => e.preventDefault());
    const watch = new ResizeObserver(() => { if (!scale) fit(); });
    watch.observe(ui.frame);

    const draw = () => {
      due = false;
      showView(); showItem(); showPicture();
      if (at !== (at = model.get('view').at)) follow();
    };
    const onChange = () => { if (!due) { due = true; queueMicrotask(draw); } }; // several traits come in one message
    for (const trait of ['view', 'item', 'picture']) model.on('change:' + trait, onChange);
    model.on('msg:custom', onAnswer);
    draw(); requestAnimationFrame(follow);
    return () => {
      for (const type of ['keydown', 'keyup', 'keypress']) window.removeEventListener(type, guard, true);
      for (const trait of ['view', 'item', 'picture']) model.off('change:' + trait, onChange);
      model.off('msg:custom', onAnswer);
      watch.disconnect(); URL.revokeObjectURL(url);
      for (const t of waiting.values()) clearTimeout(t);
    };
  },
};

function build() {
  const ui = {id: 'wl' + Math.random().toString(36).slice(2) + '-', buttons: {}};
  const kbd = (key) => el('kbd', {textContent: key, 'aria-hidden': 'true'});
  const button = (key, text, name = text) => (ui.buttons[key] = el('button', {
    type: 'button', 'aria-keyshortcuts': key, 'aria-label': name}, text + ' ', kbd(key)));
  const label = (text, node) => el('label', {}, text + ' ', node);
  const div = (className, ...kids) => el('div', {className}, ...kids);

  // the list
  ui.sort = el('select'); ui.up = el('button', {type: 'button'}); ui.which = el('select'); ui.count = el('output');
  ui.filter = el('input', {type: 'search', placeholder: 'KB  style:typed  loss>2', spellcheck: false});
  ui.rows = div('rows'); ui.tall = div('tall', ui.rows);
  ui.list = el('div', {className: 'list', role: 'listbox', tabIndex: 0, 'aria-label': 'Samples'}, ui.tall);

  // the sample
  ui.place = el('span', {className: 'place'}); ui.name = el('strong'); ui.state = el('span');
  ui.img = el('img', {draggable: false}); ui.lost = el('p', {className: 'lost', hidden: true});
  ui.frame = el('div', {className: 'frame', tabIndex: 0,
    'aria-label': 'Picture; drag to move, Ctrl and wheel to zoom'}, ui.img, ui.lost);
  ui.zoom = el('span', {className: 'num'}); ui.html = div('look'); ui.facts = el('div');
  ui.text = el('textarea', {rows: 1, spellcheck: false, dir: 'ltr'});
  ui.unsaved = el('span', {className: 'unsaved', hidden: true, textContent: '● not kept yet'});
  ui.hint = el('span', {className: 'words'}); ui.keep = el('button', {type: 'button', textContent: 'Keep this text'});
  ui.note = el('input', {type: 'text', placeholder: 'a remark for the next reviewer'});

  // messages and help
  ui.say = el('p', {className: 'say', role: 'status', 'aria-live': 'polite'});
  ui.alarm = el('p', {className: 'lost', role: 'alert', hidden: true});
  ui.help = el('dl', {className: 'help', hidden: true}, ...KEYS.map(([k, what]) =>
    el('div', {}, el('dt', {}, el('kbd', {textContent: k})), el('dd', {textContent: what}))));
  ui.helpButton = el('button', {type: 'button', 'aria-expanded': 'false', 'aria-keyshortcuts': '?'}, 'Keys ', kbd('?'));

  const tools = el('span', {className: 'tools'}, button('-', '−', 'zoom out'), ui.zoom, button('+', '+', 'zoom in'),
    button('0', 'fit', 'fit the picture'));
  const marks = Object.entries({k: 'Previous', j: 'Next', a: 'Accept', p: 'Take prediction', e: 'Edit', d: 'Drop',
    m: 'Unsure', u: 'Undo'}).map(([key, text]) => button(key, text));
  ui.detail = el('section', {className: 'detail', 'aria-label': 'Sample'},
    div('head', ui.place, ui.name, ui.state, tools), ui.frame, ui.html,
    div('edit', label('Label', ui.text), div('line', ui.keep, ui.hint, ui.unsaved), label('Note', ui.note)),
    div('line acts', ...marks, ui.helpButton), ui.help, ui.facts);
  ui.root = el('div', {className: 'wl inspector', tabIndex: 0, role: 'region', 'data-lm-suppress-shortcuts': 'true',
    'aria-label': 'Inspector of samples; press ? for its keys'},
    div('line top', label('Show', ui.which), label('Filter', ui.filter), label('Order', ui.sort), ui.up, ui.count),
    ui.alarm, div('both', ui.list, ui.detail), ui.say);
  return ui;
}
