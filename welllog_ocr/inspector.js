// The front end of the inspector. Python holds the state; this shows it and sends what was done.
// Foreign texts get here in two ways only: as `textContent` or `value`, and inside `item.html` and `item.facts`,
// which Python has escaped.

const KEYS = [
  ['j / ↓', 'next sample'], ['k / ↑', 'previous sample'], ['a', 'accept: the label is right'],
  ['p', 'take the prediction as label'], ['e', 'edit the label'], ['d', 'drop the sample'], ['m', 'maybe: unsure'],
  ['n', 'write a note'], ['u', 'undo'], ['/', 'filter'], ['s', 'order'], ['r', 'apply order and filter again'],
  ['+ − 0', 'zoom in, out, fit'], ['Alt+1 … 9', 'write a sign into the label'], ['?', 'this list'],
  ['Esc', 'back to the notebook; in the filter: clear it'],
];
const SIGNS = {'°': 'degree', '½': 'one half', '¼': 'one quarter', '¾': 'three quarters', '⅛': 'one eighth',
  '⅜': 'three eighths', '⅝': 'five eighths', '⅞': 'seven eighths', '@': 'at'};
const HIGH = 25; // pixels of a row in the list
const LETTER = 42, LINE = 80; // least pixels of a letter on the screen; of a line in which no letters are found
const FRAME = 114; // a line grows until it fills this height
const EDITS = /^([vz]|Arrow.*|Home|End|Backspace|Delete)$/i, PLAIN_EDITS = /^[acxy]$/i; // with Ctrl, in a text field
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
    let sent = 0, scale = 1, shown = '', url = '', asked = -1, panned = null, data = null, due = false, at = -2;
    let filtered = 0, kept = 0, away = false, laid = false;
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
      if (msg.saved && msg.answer === kept) leaveEditor(); // a late answer to another key leaves one who types alone
      if (msg.bad && msg.answer === filtered) ui.filter.focus();
    };

    // ---- the sample
    function showItem() {
      const it = item();
      root.classList.toggle('none', it.key === undefined);
      if (it.key === undefined) return;
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
      ui.frame.classList.toggle('page', it.lines);
      if (shown !== it.key) { shown = it.key; ui.frame.scrollTo(0, 0); }
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
      ui.img.style.width = Math.round(w * whole * scale) + 'px';
      ui.zoom.textContent = Math.round(100 * scale) + ' %';
    }
    function zoom(by) { // 0: fit; the middle of what is seen stays there
      const {img, frame} = ui;
      const x = (frame.scrollLeft + frame.clientWidth / 2) / img.clientWidth;
      const y = (frame.scrollTop + frame.clientHeight / 2) / img.clientHeight;
      scale = by ? Math.min(8, Math.max(.1, scale * by)) : 1;
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
    const keep = () => { sendKey('fix', {text: ui.text.value}); kept = sent; };
    ui.text.addEventListener('input', () => {
      drafts[item().key] = ui.text.value;
      ui.unsaved.hidden = ui.text.value === item().text;
    });

    // ---- keys: its own are seen before the notebook sees them, and never passed on; all others are the notebook's
    const fields = [ui.text, ui.note, ui.filter];
    const hasModifier = (e) => e.ctrlKey || e.metaKey || e.altKey;
    const isSign = (e) => e.altKey && !e.ctrlKey && !e.metaKey && /^Digit[1-9]$/.test(e.code); // on a Mac, `key` is ¡
    const signOf = (e) => (isSign(e) ? Object.keys(SIGNS)[e.code[5] - 1] : '');
    function isOwn(e) {
      const where = e.composedPath()[0], field = fields.includes(where);
      if (e.isComposing || !hasModifier(e)) return field || !(e.key === 'Enter' && e.shiftKey);
      if (e.altKey) return where === ui.text && isSign(e);
      return field && (e.key === 'Enter' || EDITS.test(e.key) || (!e.shiftKey && PLAIN_EDITS.test(e.key)));
    }
    function write(sign) {
      if (ui.text.readOnly) return;
      ui.text.focus();
      document.execCommand('insertText', false, sign); // the one way that Ctrl+Z takes back
    }
    const nearby = () => [host.closest('.jp-Cell'), host.closest('.jp-Notebook'), document.body];
    function setAway(is) { // was the focus given back to the notebook, and is it still there? Enter returns then
      away = is;
      ui.cover.textContent = is ? 'Click or press Enter to use the keys' : 'Click here to use the keys';
    }
    function leave() {
      if (!ui.help.hidden) return showHelp(false);
      const {filter, total} = model.get('view');
      if (filter && !total) return clearFilter(); // nothing else can be done there
      const notebook = host.closest('.jp-Notebook');
      (host.closest('.jp-Cell') || root).focus({preventScroll: true});
      if (!notebook || root.contains(document.activeElement)) document.activeElement.blur();
      setAway(true);
    }
    function takeFocus() { // when it is shown, unless someone types elsewhere
      const now = document.activeElement, notebook = host.closest('.jp-Notebook');
      if (now !== document.body && (!notebook?.contains(now) || now.matches(':read-write'))) return;
      root.scrollIntoView({block: 'nearest'}); toRoot();
    }
    const step = (by) => () => send('go', {by});
    const toEnd = (node) => { node.focus(); node.setSelectionRange(node.value.length, node.value.length); };
    const showHelp = (there) => { ui.help.hidden = !there; ui.helpButton.setAttribute('aria-expanded', there); };
    const acts = {
      j: step(1), k: step(-1), ArrowDown: step(1), ArrowUp: step(-1), PageDown: step(10), PageUp: step(-10),
      Home: () => send('at', {at: 0}), End: () => send('at', {at: 1e9}), u: () => send('undo'), r: () => send('again'),
      a: () => sendKey('accept'), p: () => sendKey('take'), d: () => sendKey('drop'), m: () => sendKey('unsure'),
      e: () => toEnd(ui.text), n: () => ui.note.focus(), '/': () => ui.filter.focus(), s: () => ui.sort.focus(),
      '+': () => zoom(1.5), '=': () => zoom(1.5), '-': () => zoom(1 / 1.5), 0: () => zoom(0),
      '?': () => showHelp(ui.help.hidden), Escape: leave,
    };
    function typedInField(e, where, control) {
      if (e.key === 'Escape') { e.preventDefault(); if (where === ui.filter) clearFilter(); toRoot(); }
      if (signOf(e)) { e.preventDefault(); write(signOf(e)); }
      if (e.key !== 'Enter' || (!control && where === ui.text && (item().lines || e.shiftKey))) return; // a line break
      e.preventDefault();
      if (where === ui.text) return keep();
      where === ui.note ? sendKey('note', {text: ui.note.value}) : filter();
      toRoot();
    }
    function typed(e) {
      const control = e.ctrlKey || e.metaKey, where = e.composedPath()[0], field = where.tagName;
      if (e.isComposing) return;
      if (fields.includes(where)) return typedInField(e, where, control);
      if (field === 'SELECT' && e.key !== 'Escape') return;
      if (field === 'BUTTON' && (e.key === 'Enter' || e.key === ' ')) return;
      if (e.key === 'Enter') e.preventDefault();
      if (field === 'SELECT') return toRoot();
      const act = acts[e.key];
      if (act && !(e.repeat && 'apdmu'.includes(e.key))) { e.preventDefault(); act(); } // held down, it marks only once
    }
    const KEYS_SEEN = ['keydown', 'keyup', 'keypress', 'beforeinput']; // JupyterLab forbids the undo of the browser
    const guard = (e) => { // on the window: JupyterLab listens on the document, also before the elements in it
      const inside = e.composedPath().includes(root);
      const bare = e.key === 'Enter' && !e.shiftKey && !hasModifier(e);
      const back = away && bare && nearby().includes(document.activeElement);
      if (!(inside ? e.type === 'beforeinput' || isOwn(e) : back)) return;
      e.stopImmediatePropagation();
      if (e.type !== 'keydown') return;
      if (inside) typed(e); else { e.preventDefault(); toRoot(); }
    };
    const onFocus = (e) => { if (away && !nearby().includes(e.target)) setAway(false); };
    for (const type of KEYS_SEEN) window.addEventListener(type, guard, true);
    window.addEventListener('focusin', onFocus, true);
    setAway(false);

    // ---- the mouse
    for (const [name, button] of Object.entries(ui.buttons)) {
      button.addEventListener('click', () => { acts[name](); if (!'en'.includes(name)) toRoot(); });
    }
    ui.keep.addEventListener('click', keep);
    ui.helpButton.addEventListener('click', acts['?']);
    ui.signs.forEach((button) => button.addEventListener('click', () => write(button.textContent)));
    const filter = () => { send('filter', {text: ui.filter.value, which: ui.which.value}); filtered = sent; };
    const clearFilter = () => { ui.filter.value = ''; filter(); };
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
    const watch = new ResizeObserver(() => {
      fit();
      if (!laid && ui.frame.clientWidth) { laid = true; follow(); takeFocus(); }
    });
    watch.observe(ui.frame);

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
      for (const type of KEYS_SEEN) window.removeEventListener(type, guard, true);
      window.removeEventListener('focusin', onFocus, true);
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
  ui.heads = ['', '', 'CER', 'label'].map((textContent, i) =>
    el('span', {textContent, className: ['mark', 'num', 'num', 'what'][i]}));
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
  ui.signs = Object.entries(SIGNS).map(([textContent, name], i) => el('button', {
    type: 'button', textContent, title: `${name} (Alt+${i + 1})`, 'aria-label': name,
    'aria-keyshortcuts': `Alt+${i + 1}`}));

  // messages and help
  ui.say = el('p', {className: 'say', role: 'status', 'aria-live': 'polite'});
  ui.cover = el('p', {className: 'cover', 'aria-hidden': 'true'});
  ui.banner = el('p', {className: 'banner', role: 'note', hidden: true});
  ui.alarm = el('p', {className: 'lost alarm', role: 'alert', hidden: true});
  ui.help = el('dl', {className: 'help', hidden: true}, ...KEYS.map(([k, what]) =>
    el('div', {}, el('dt', {}, el('kbd', {textContent: k})), el('dd', {textContent: what}))));
  ui.helpButton = el('button', {type: 'button', 'aria-expanded': 'false', 'aria-keyshortcuts': '?'}, 'Keys ', kbd('?'));

  const tools = el('span', {className: 'tools'}, button('-', '−', 'zoom out'), ui.zoom, button('+', '+', 'zoom in'),
    button('0', 'fit', 'fit the picture'));
  const marks = Object.entries({k: 'Previous', j: 'Next', a: 'Accept', p: 'Take prediction', e: 'Edit', d: 'Drop',
    m: 'Unsure', u: 'Undo'}).map(([key, text]) => button(key, text));
  const detail = el('section', {className: 'detail', 'aria-label': 'Sample'},
    div('head', ui.place, ui.name, ui.state, tools), div('line acts', ...marks, ui.helpButton), ui.help, ui.frame,
    div('edit', label('Label', ui.text), div('line', ui.keep, el('span', {className: 'signs'}, ...ui.signs), ui.hint,
      ui.unsaved), label('Note', ui.note)));
  ui.root = el('div', {className: 'wl inspector', tabIndex: 0, role: 'region',
    'aria-label': 'Inspector of samples; press ? for its keys, Escape for the notebook'},
    div('line top', label('Show', ui.which), label('Filter', ui.filter), label('Order', ui.sort), ui.up, ui.count),
    ui.banner, div('status', ui.say, ui.cover), detail,
    div('both', div('table', el('div', {className: 'heads', 'aria-hidden': 'true'}, ...ui.heads), ui.list),
      div('side', ui.html, ui.facts)), ui.alarm);
  return ui;
}
