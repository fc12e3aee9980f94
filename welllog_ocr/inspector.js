// The front end of the inspector. Python holds the state; this shows it and sends what was done.
// Foreign texts get here in two ways only: as `textContent` or `value`, and inside `item.html` and `item.facts`,
// which Python has escaped.

const KEYS = [
  ['j / ↓', 'next sample'], ['k / ↑', 'previous sample'], ['a', 'accept: the label is right'],
  ['p', 'take the prediction as label'], ['e', 'edit the label'], ['d', 'drop the sample'], ['m', 'maybe: unsure'],
  ['n', 'write a note'], ['u', 'undo'], ['/', 'filter'], ['s', 'order'], ['r', 'apply order and filter again'],
  ['+ − 0', 'zoom in, out, fit'], ['w', 'show it on its page'], ['g', 'grid of many'], ['Space, Shift+arrows, *',
    'in the grid: select one, several, all; a p d m mark them'], ['Alt+1 … 9', 'write a sign into the label'],
  ['?', 'this list'], ['Esc', 'back to the notebook; in the filter: clear it'],
];
const SIGNS = {'°': 'degree', '½': 'one half', '¼': 'one quarter', '¾': 'three quarters', '⅛': 'one eighth',
  '⅜': 'three eighths', '⅝': 'five eighths', '⅞': 'seven eighths', '@': 'at'};
const HIGH = 25; // pixels of a row in the list
const LETTER = 42, LINE = 80; // least pixels of a letter on the screen; of a line in which no letters are found
const FRAME = 114; // a line grows until it fills this height
const FRAMES = [132, 196]; // heights of the picture of a line: as a rule, and at most
const TILE = {w: 212, h: 92}, THUMBS = 2000; // pixels of a tile of the grid; small pictures that are kept

export default {
  render({model, el: host}) {
    const ui = build();
    const {root} = ui;
    host.append(root);
    const drafts = {};
    let scale = 1, shown = '', url = '', asked = -1, panned = null, data = null, due = false, at = -2;
    let filtered = 0, kept = 0, entered = false, laid = false, tiled = false, sheet = null;
    const thumbs = new Map(), wanted = new Set(); // key -> address of its small picture, '' when there is none
    const item = () => model.get('item');
    const toRoot = () => root.focus({preventScroll: true});

    // ---- to Python, and whether it answers
    const {send, answered, say, close: disconnect} = connect(model, host, ui);
    const sendKey = (what, more = {}) => send(what, {key: item().key, ...more});
    const judge = (what) => () => sendKey(what, {many: tiled});
    const onAnswer = (msg, buffers) => {
      if (msg.progress !== undefined) { ui.progress.textContent = msg.progress; ui.progress.hidden = !msg.progress; }
      if (msg.split) fields.includes(document.activeElement) ? ready(msg.split) : send('split', {split: msg.split});
      if (msg.answer === undefined) return;
      if (msg.thumbs) showThumbs(msg.thumbs, buffers);
      if (msg.page) showSheet(msg.page, buffers[0]);
      answered(msg.answer);
      if (msg.say === undefined) return;
      if (msg.saved) delete drafts[msg.saved];
      say(msg);
      if (msg.saved && msg.answer === kept) leaveEditor(); // a late answer to another key leaves one who types alone
      if (msg.bad && msg.answer === filtered) ui.filter.focus();
    };

    // ---- the sample
    function showItem() {
      const it = item();
      root.classList.toggle('none', it.key === undefined);
      if (it.key === undefined) return;
      const {picked} = model.get('view');
      ui.place.textContent = (it.place ? `${it.place} of ${it.total}` : 'not in this view') +
        (picked ? ` · ${picked} selected` : '');
      ui.name.textContent = it.name;
      ui.state.textContent = `${it.mark} ${it.state}`; ui.state.className = 'tag ' + it.state;
      ui.html.innerHTML = it.html; ui.facts.innerHTML = it.facts; // escaped by Python
      const draft = drafts[it.key];
      if (document.activeElement !== ui.text || shown !== it.key) ui.text.value = draft ?? it.text;
      ui.unsaved.hidden = draft === undefined || draft === it.text;
      ui.text.rows = Math.min(14, Math.max(1, it.text.split('\n').length));
      ui.note.value = it.note;
      ui.hint.textContent = it.lines ? 'Ctrl+Enter keeps it, Esc leaves' : 'Enter keeps it, Esc leaves';
      ui.frame.classList.toggle('page', it.lines);
      if (shown !== it.key) { shown = it.key; ui.frame.scrollTo(0, 0); if (sheet) closeSheet(); }
    }

    // ---- its picture
    function showPicture() {
      const it = item();
      if (data === (data = model.get('picture')) && ui.img.alt === it.alt) return;
      URL.revokeObjectURL(url);
      const there = data && data.byteLength > 0;
      ui.img.hidden = !there; ui.lost.hidden = there; ui.lost.textContent = it.lost || '';
      if (!there) return;
      url = URL.createObjectURL(new Blob([data], {type: it.type}));
      ui.img.alt = it.alt; ui.img.src = url;
    }
    function fit() { // by the height of its letters; the zoom stays from sample to sample
      const w = ui.img.naturalWidth, h = ui.img.naturalHeight, room = ui.frame.clientWidth - 2, it = item();
      if (!w || room <= 0) return;
      const least = it.letter ? LETTER / (it.letter * h) : it.lines ? 0 : LINE / h;
      const whole = Math.min(8, Math.max(least, it.lines ? room / w : Math.min(room / w, FRAME / h)));
      const wide = Math.round(w * whole * scale);
      ui.img.style.width = wide + 'px';
      ui.zoom.textContent = Math.round(100 * scale) + ' %';
      cut(wide, it.lines ? wide : room, Math.round(Math.min(room / 4, LETTER * scale)));
    }
    function cut(wide, room, overlap) { // a long line in strips below each other, without blank rows
      const high = wide * ui.img.naturalHeight / ui.img.naturalWidth, [top, bottom] = item().rows || [0, 1];
      const n = wide > room ? Math.ceil((wide - overlap) / (room - overlap)) : 1;
      const part = Math.ceil((wide + (n - 1) * overlap) / n);
      while (ui.slices.children.length > n) ui.slices.lastChild.remove();
      while (ui.slices.children.length < n) ui.slices.append(el('div', {className: 'slice'}, el('img', {alt: ''})));
      [...ui.slices.children].forEach((strip, i) => {
        const img = strip.firstChild;
        strip.style.width = n > 1 ? Math.min(part, wide - i * (part - overlap)) + 'px' : '';
        strip.style.height = n > 1 ? Math.ceil((bottom - top) * high) + 'px' : '';
        img.style.width = wide + 'px';
        img.style.margin = n > 1 ? `${-top * high}px 0 0 ${-i * (part - overlap)}px` : '';
        if (i) { img.src = ui.img.src; img.draggable = false; }
      });
      const more = item().lines ? 0 : Math.max(FRAMES[0], Math.min(FRAMES[1], ui.slices.offsetHeight + 4)) - FRAMES[0];
      root.style.setProperty('--more', more + 'px'); // taken from the list
    }
    function zoom(by) { // 0: fit; the middle of what is seen stays there
      const {img, frame} = ui;
      const x = (frame.scrollLeft + frame.clientWidth / 2) / img.clientWidth;
      const y = (frame.scrollTop + frame.clientHeight / 2) / img.clientHeight;
      if (sheet) { sheet.scale = by ? Math.min(4, Math.max(.2, sheet.scale * by)) : 1; return fitSheet(); }
      scale = by ? Math.min(8, Math.max(.1, scale * by)) : 1;
      fit();
      frame.scrollLeft = x * img.clientWidth - frame.clientWidth / 2;
      frame.scrollTop = y * img.clientHeight - frame.clientHeight / 2;
    }

    // ---- its page
    function showSheet(page, bytes) {
      closeSheet();
      sheet = {...page, scale: 1, url: URL.createObjectURL(new Blob([bytes], {type: page.type}))};
      ui.page.src = sheet.url; ui.page.alt = `page of ${item().name}`;
      ui.where.textContent = `${page.title}; + and − zoom, w or Esc closes`;
      ui.sheet.hidden = false;
    }
    function fitSheet() { // as wide as there is room; the box in the middle
      if (!sheet || !ui.page.naturalWidth) return;
      const [x, y, w, h] = sheet.box, view = ui.paper.parentElement;
      ui.page.style.width = Math.round((view.clientWidth - 2) * sheet.scale) + 'px';
      for (const [k, v] of Object.entries({left: x, top: y, width: w, height: h})) ui.box.style[k] = 100 * v + '%';
      view.scrollTop = (y + h / 2) * ui.page.clientHeight - view.clientHeight / 2;
      view.scrollLeft = (x + w / 2) * ui.page.clientWidth - view.clientWidth / 2;
    }
    function closeSheet() {
      if (sheet) URL.revokeObjectURL(sheet.url);
      sheet = null; ui.sheet.hidden = true;
    }

    // ---- the grid
    const columns = () => Math.max(1, Math.floor(ui.grid.clientWidth / TILE.w));
    function showGrid(is) {
      tiled = is;
      root.classList.toggle('tiled', is);
      ui.gridButton.setAttribute('aria-pressed', is);
      if (is) { closeSheet(); showTiles(); follow(); } else if (model.get('view').picked) pick(0, 'none');
    }
    function showTiles() {
      const v = model.get('view'), n = columns();
      ui.tiles.style.height = Math.ceil(v.total / n) * TILE.h + 'px';
      ui.tiles.replaceChildren(...v.rows.map((r, i) => tile(r, v.first + i, v, n)));
      ui.grid.setAttribute('aria-activedescendant', v.at < 0 ? '' : `${ui.id}t${v.at}`);
      askThumbs();
    }
    function tile([mark, state, name, number, cer, text, key, picked], i, v, n) {
      const img = el('img', {alt: '', draggable: false});
      if (thumbs.get(key)) img.src = thumbs.get(key);
      const node = el('div', {id: `${ui.id}t${i}`, role: 'option', className: `tile ${state}`, 'aria-selected': picked,
        'aria-label': `${i + 1}, ${name}, ${state}: ${text}`, title: `${name} · ${state}`},
      img, el('span', {className: 'what', textContent: `${mark} ${text}`}));
      node.classList.toggle('at', i === v.at);
      node.dataset.key = key;
      const left = 100 * (i % n) / n + '%';
      Object.assign(node.style, {left, width: 100 / n + '%', top: Math.floor(i / n) * TILE.h + 'px'});
      node.addEventListener('click', (e) => pick(i, e.shiftKey ? 'range' : e.ctrlKey || e.metaKey ? 'flip' : 'one'));
      node.addEventListener('dblclick', () => showGrid(false));
      return node;
    }
    function askThumbs() { // of the tiles in sight, a dozen at a time, so that a key comes in between
      const {scrollTop: top, clientHeight: high} = ui.grid;
      const seen = [...ui.tiles.children].filter((t) => t.offsetTop + TILE.h > top && t.offsetTop < top + high);
      const keys = seen.map((t) => t.dataset.key).filter((k) => !thumbs.has(k) && !wanted.has(k)).slice(0, 12);
      if (!keys.length || wanted.size) return;
      keys.forEach((k) => wanted.add(k));
      send('thumbs', {keys});
    }
    function showThumbs(found, buffers) {
      found.forEach(([key, type], i) => {
        thumbs.set(key, type && URL.createObjectURL(new Blob([buffers[i]], {type})));
        wanted.delete(key);
        for (const t of ui.tiles.children) if (t.dataset.key === key && type) t.firstChild.src = thumbs.get(key);
      });
      for (const key of [...thumbs.keys()].slice(0, Math.max(0, thumbs.size - THUMBS))) {
        URL.revokeObjectURL(thumbs.get(key)); thumbs.delete(key);
      }
      askThumbs();
    }
    const pick = (at, how) => send('pick', {at, how});
    const move = (by) => (e) => {
      const at = model.get('view').at + by();
      e.shiftKey ? pick(at, 'range') : send('at', {at});
    };
    const gridActs = {
      ArrowRight: move(() => 1), ArrowLeft: move(() => -1), ArrowDown: move(columns), ArrowUp: move(() => -columns()),
      ' ': () => pick(model.get('view').at, 'flip'), '*': () => pick(0, 'all'), Enter: () => showGrid(false),
    };

    // ---- the list
    function showView() {
      const v = model.get('view');
      if (!v.columns) return;
      options(ui.sort, v.columns.map((c) => [c, c]), v.sort);
      ui.up.textContent = v.up ? '↑ smallest' : '↓ largest'; ui.up.setAttribute('aria-pressed', v.up);
      options(ui.which, v.states.map(([s, n]) => [s, `${s} (${n})`]), v.which);
      if (document.activeElement !== ui.filter) ui.filter.value = v.filter;
      ui.count.textContent = `${v.total} of ${v.all}`;
      ui.split.value = v.split; ui.split.hidden = !v.splits;
      if (tiled) showTiles();
      ui.heads[1].textContent = v.metric;
      ui.banner.hidden = !v.banner; ui.banner.textContent = v.banner;
      ui.text.readOnly = ui.note.readOnly = !!v.banner;
      for (const node of [...'apedm'].map((k) => ui.buttons[k]).concat(ui.keep, ui.signs)) node.disabled = !!v.banner;
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
      const {at: i} = model.get('view');
      const [list, top, high] = tiled ? [ui.grid, Math.floor(i / columns()) * TILE.h, TILE.h] : [ui.list, i * HIGH, HIGH];
      const {scrollTop, clientHeight} = list;
      if (i < 0 || (top >= scrollTop && top + high <= scrollTop + clientHeight)) return;
      list.scrollTop = Math.max(0, top - clientHeight / 2);
    }

    // ---- the editor
    const leaveEditor = () => { if ([ui.text, ui.note].includes(document.activeElement)) toRoot(); };
    const keep = () => { kept = sendKey('fix', {text: ui.text.value}); };
    ui.text.addEventListener('input', () => {
      drafts[item().key] = ui.text.value;
      ui.unsaved.hidden = ui.text.value === item().text;
    });

    // ---- keys
    const fields = [ui.text, ui.note, ui.filter];
    const isSign = (e) => e.altKey && !e.ctrlKey && !e.metaKey && /^Digit[1-9]$/.test(e.code); // on a Mac, `key` is ¡
    const signOf = (e) => (isSign(e) ? Object.keys(SIGNS)[e.code[5] - 1] : '');
    const also = (e, where) => (e.altKey ? where === ui.text && isSign(e) : fields.includes(where) && e.key === 'Enter');
    function write(sign) {
      if (ui.text.readOnly) return;
      ui.text.focus();
      document.execCommand('insertText', false, sign); // the one way that Ctrl+Z takes back
    }
    function closeFirst() { // what Esc closes before it gives the focus back
      const {filter, total, picked} = model.get('view');
      if (sheet) closeSheet();
      else if (tiled) picked ? pick(0, 'none') : showGrid(false);
      else if (filter && !total) clearFilter(); // nothing else can be done there
      else return false;
      return true;
    }
    const step = (by) => () => send('go', {by});
    const toEnd = (node) => { node.focus(); node.setSelectionRange(node.value.length, node.value.length); };
    const acts = {
      j: step(1), k: step(-1), ArrowDown: step(1), ArrowUp: step(-1), PageDown: step(10), PageUp: step(-10),
      Home: () => send('at', {at: 0}), End: () => send('at', {at: 1e9}), u: () => send('undo'), r: () => send('again'),
      a: judge('accept'), p: judge('take'), d: judge('drop'), m: judge('unsure'), g: () => showGrid(!tiled),
      w: () => (sheet ? closeSheet() : sendKey('page')), e: () => { showGrid(false); toEnd(ui.text); },
      n: () => { showGrid(false); ui.note.focus(); }, '/': () => ui.filter.focus(), s: () => ui.sort.focus(),
      '+': () => zoom(1.5), '=': () => zoom(1.5), '-': () => zoom(1 / 1.5), 0: () => zoom(0),
    };
    const leaveField = () => { entered = true; toRoot(); entered = false; }; // that it has changed was said already
    function typedInField(e, where) {
      const control = e.ctrlKey || e.metaKey;
      if (e.key === 'Escape') { e.preventDefault(); if (where === ui.filter) clearFilter(); leaveField(); }
      if (signOf(e)) { e.preventDefault(); write(signOf(e)); }
      if (e.key !== 'Enter' || (!control && where === ui.text && (item().lines || e.shiftKey))) return; // a line break
      e.preventDefault();
      if (where === ui.text) return keep();
      where === ui.note ? sendKey('note', {text: ui.note.value}) : filter();
      leaveField();
    }
    const over = (key) => tiled && gridActs[key];
    const keys = keyboard(host, ui, {fields, acts, once: 'apdmu', typedInField, closeFirst, also, over});

    // ---- the mouse
    ui.keep.addEventListener('click', keep);
    ui.signs.forEach((button) => button.addEventListener('click', () => write(button.textContent)));
    const filter = () => { filtered = send('filter', {text: ui.filter.value, which: ui.which.value}); };
    const clearFilter = () => { ui.filter.value = ''; filter(); };
    function ready(split) { ui.progress.hidden = false; ui.progress.textContent = `${split} is read: choose it above`; }
    ui.split.addEventListener('change', () => {
      send('split', {split: ui.split.value});
      ui.split.value = model.get('view').split; toRoot(); // until the other one is there
    });
    ui.pageButton.addEventListener('click', acts.w); ui.gridButton.addEventListener('click', acts.g);
    const sort = (up) => send('sort', {column: ui.sort.value, up});
    for (const node of [ui.filter, ui.which]) node.addEventListener('change', () => entered || filter());
    ui.sort.addEventListener('change', () => sort(model.get('view').up));
    ui.up.addEventListener('click', () => sort(!model.get('view').up));
    function onScroll(first, seen) { // ask for rows that are not there
      const v = model.get('view'), last = Math.min(v.total, first + seen);
      if ((first >= v.first && last <= v.first + v.rows.length) || first === asked) return;
      asked = first; send('window', {first});
    }
    ui.list.addEventListener('scroll', () => onScroll(Math.floor(ui.list.scrollTop / HIGH), 20));
    ui.grid.addEventListener('scroll', () => {
      const n = columns(), {scrollTop, clientHeight} = ui.grid;
      askThumbs();
      onScroll(n * Math.floor(scrollTop / TILE.h), n * Math.ceil(clientHeight / TILE.h + 1));
    });
    root.addEventListener('mousedown', (e) => {
      const typing = () => fields.includes(document.activeElement); // a key may have come since
      if (!e.target.closest('button, input, textarea, select')) setTimeout(() => typing() || toRoot());
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
    ui.page.addEventListener('load', fitSheet);
    ui.img.addEventListener('dragstart', (e) => e.preventDefault());
    const watch = new ResizeObserver(() => {
      fit(); if (tiled) showTiles();
      if (!laid && ui.frame.clientWidth) { laid = true; follow(); keys.takeFocus(); }
    });
    watch.observe(ui.frame); watch.observe(ui.grid);

    const draw = () => {
      due = false;
      showView(); showItem(); showPicture();
      if (at !== (at = model.get('view').at)) follow();
    };
    const onChange = () => { if (!due) { due = true; queueMicrotask(draw); } }; // several traits come in one message
    for (const trait of ['view', 'item', 'picture']) model.on('change:' + trait, onChange);
    model.on('msg:custom', onAnswer);
    draw();
    return () => {
      keys.close(); disconnect();
      for (const trait of ['view', 'item', 'picture']) model.off('change:' + trait, onChange);
      model.off('msg:custom', onAnswer);
      watch.disconnect(); closeSheet();
      for (const address of [url, ...thumbs.values()]) URL.revokeObjectURL(address);
    };
  },
};

function build() {
  const ui = messages(KEYS);
  const button = (key, text, name = text) => (ui.buttons[key] = el('button', {
    type: 'button', 'aria-keyshortcuts': key, 'aria-label': name}, text + ' ', kbd(key)));

  // the list
  ui.sort = el('select'); ui.up = el('button', {type: 'button'}); ui.which = el('select'); ui.count = el('output');
  ui.filter = el('input', {type: 'search', placeholder: 'KB  style:typed  loss>2', spellcheck: false});
  ui.rows = div('rows'); ui.tall = div('tall', ui.rows);
  ui.heads = ['', '', 'CER', 'label'].map((textContent, i) =>
    el('span', {textContent, className: ['mark', 'num', 'num', 'what'][i]}));
  ui.list = el('div', {className: 'list', role: 'listbox', tabIndex: 0, 'aria-label': 'Samples'}, ui.tall);

  // the sample
  ui.place = el('span', {className: 'place'}); ui.name = el('strong'); ui.state = el('span');
  ui.img = el('img', {draggable: false}); ui.lost = el('p', {className: 'lost', hidden: true});
  ui.frame = el('div', {className: 'frame', tabIndex: 0,
    'aria-label': 'Picture; drag to move, Ctrl and wheel to zoom'},
  ui.slices = div('slices', div('slice', ui.img)), ui.lost);
  ui.zoom = el('span', {className: 'num'}); ui.html = div('look'); ui.facts = el('div');
  ui.text = el('textarea', {rows: 1, spellcheck: false, dir: 'ltr'});
  ui.unsaved = el('span', {className: 'unsaved', hidden: true, textContent: '● not kept yet'});
  ui.hint = el('span', {className: 'words'}); ui.keep = el('button', {type: 'button', textContent: 'Keep this text'});
  ui.note = el('input', {type: 'text', placeholder: 'a remark for the next reviewer'});
  ui.signs = Object.entries(SIGNS).map(([textContent, name], i) => el('button', {
    type: 'button', textContent, title: `${name} (Alt+${i + 1})`, 'aria-label': name,
    'aria-keyshortcuts': `Alt+${i + 1}`}));

  // its page, and the grid
  ui.page = el('img', {draggable: false}); ui.box = div('box'); ui.where = el('p', {className: 'words'});
  ui.paper = div('paper', ui.page, ui.box);
  ui.sheet = el('div', {className: 'sheet', hidden: true, role: 'dialog', 'aria-label': 'Page of the sample'}, ui.where,
    div('view', ui.paper));
  ui.tiles = div('tall');
  ui.grid = el('div', {className: 'grid', role: 'listbox', tabIndex: 0, 'aria-multiselectable': 'true',
    'aria-label': 'Grid of samples'}, ui.tiles);
  ui.split = el('select', {'aria-label': 'Split'}, ...['eval', 'train'].map((value) =>
    el('option', {value, textContent: value})));
  const plain = (key, text) => el('button', {type: 'button', 'aria-keyshortcuts': key}, text + ' ', kbd(key));
  ui.pageButton = plain('w', 'On its page'); ui.gridButton = plain('g', 'Grid');
  ui.progress = el('p', {className: 'words progress', role: 'status', hidden: true});

  ui.banner = el('p', {className: 'banner', role: 'note', hidden: true});

  const tools = el('span', {className: 'tools'}, button('-', '−', 'zoom out'), ui.zoom, button('+', '+', 'zoom in'),
    button('0', 'fit', 'fit the picture'), ui.pageButton, ui.gridButton);
  const marks = Object.entries({k: 'Previous', j: 'Next', a: 'Accept', p: 'Take prediction', e: 'Edit', d: 'Drop',
    m: 'Unsure', u: 'Undo'}).map(([key, text]) => button(key, text));
  const detail = el('section', {className: 'detail', 'aria-label': 'Sample'},
    div('head', ui.place, ui.name, ui.state, tools), div('line acts', ...marks, ui.helpButton), ui.help, ui.frame,
    div('edit', label('Label', ui.text), div('line', ui.keep, el('span', {className: 'signs'}, ...ui.signs), ui.hint,
      ui.unsaved), label('Note', ui.note)));
  ui.root = el('div', {className: 'wl inspector', tabIndex: 0, role: 'region',
    'aria-label': 'Inspector of samples; press ? for its keys, Escape for the notebook'},
    div('line top', ui.split, label('Show', ui.which), label('Filter', ui.filter), label('Order', ui.sort), ui.up, ui.count),
    ui.banner, ui.progress, div('status', ui.say, ui.cover), detail, ui.grid, ui.sheet,
    div('both', div('table', el('div', {className: 'heads', 'aria-hidden': 'true'}, ...ui.heads), ui.list),
      div('side', ui.html, ui.facts)), ui.alarm);
  return ui;
}
