// What the front ends of the inspector and of the reviewer share, put before each of them: how nodes are made, how
// Python is asked, and which keys are theirs.

const EDITS = /^([vz]|Arrow.*|Home|End|Backspace|Delete)$/i, PLAIN_EDITS = /^[acxy]$/i; // with Ctrl, in a text field
const SILENCE = 'The kernel does not answer: it is busy, or gone. What you did last is not written down yet. ' +
  'When it was restarted, run the cell again: all that was written is there.';
const RESTARTED = 'The kernel was restarted: run the cell again. All that was written down is there; ' +
  'what you do here now is not written.';

const el = (tag, props = {}, ...kids) => {
  const node = document.createElement(tag);
  for (const [k, v] of Object.entries(props)) k in node && k !== 'role' ? (node[k] = v) : node.setAttribute(k, v);
  node.append(...kids);
  return node;
};
const div = (className, ...kids) => el('div', {className}, ...kids);
const label = (text, node) => el('label', {}, text + ' ', node);
const kbd = (key) => el('kbd', {textContent: key, 'aria-hidden': 'true'});

function options(node, pairs, chosen) { // of a select: [value, text]
  const now = JSON.stringify(pairs);
  if (node.dataset.now !== now) {
    node.dataset.now = now;
    node.replaceChildren(...pairs.map(([value, textContent]) => el('option', {value, textContent})));
  }
  node.value = chosen;
}

function messages(keys) { // the nodes that every front end has
  return {
    id: 'wl' + Math.random().toString(36).slice(2) + '-', buttons: {},
    say: el('p', {className: 'say', role: 'status', 'aria-live': 'polite'}),
    cover: el('p', {className: 'cover', 'aria-hidden': 'true'}),
    alarm: el('p', {className: 'lost alarm', role: 'alert', hidden: true}),
    help: el('dl', {className: 'help', hidden: true}, ...keys.map(([k, what]) =>
      el('div', {}, el('dt', {}, el('kbd', {textContent: k})), el('dd', {textContent: what})))),
    helpButton: el('button', {type: 'button', 'aria-expanded': 'false', 'aria-keyshortcuts': '?'}, 'Keys ', kbd('?')),
  };
}

function connect(model, host, ui) { // asks Python, and notices when it does not answer
  const waiting = new Map();
  let sent = 0, dead = false;
  function alarm(text) {
    ui.alarm.hidden = false; ui.alarm.textContent = dead ? RESTARTED : text;
    dead ||= text === RESTARTED;
  }
  function send(what, more = {}) { // the number of the message, which its answer names
    const n = ++sent;
    waiting.set(n, setTimeout(() => alarm(SILENCE), 4000));
    const status = ({content}) => { // a kernel that is done and has not answered does not know this widget
      if (content.execution_state === 'idle' && waiting.has(n)) alarm(RESTARTED);
    };
    model.send({do: what, n, ...more}, {iopub: {status}});
    return n;
  }
  function answered(n) {
    clearTimeout(waiting.get(n)); waiting.delete(n);
    if (!waiting.size) { ui.alarm.hidden = true; dead = false; }
  }
  function say(msg) {
    ui.say.textContent = ''; ui.say.textContent = msg.say || '';
    ui.say.classList.toggle('bad', !!msg.bad);
  }
  const patient = () => { for (const t of waiting.values()) clearTimeout(t); }; // Python has said that it is busy
  const onLink = () => setTimeout(() => { // the manager of widgets marks what has lost its kernel
    if (host.closest('.jupyter-widgets-disconnected')) alarm(RESTARTED);
  });
  model.on('comm_live_update', onLink);
  const close = () => { model.off('comm_live_update', onLink); patient(); };
  return {send, answered, say, patient, close};
}

// Keys: its own are seen before the notebook sees them, and never passed on; all others are the notebook's.
function keyboard(host, ui, {fields, acts, once, typedInField, closeFirst, also = () => false, over = () => null}) {
  const {root} = ui;
  let away = false;
  const toRoot = () => root.focus({preventScroll: true});
  const hasModifier = (e) => e.ctrlKey || e.metaKey || e.altKey;
  function isOwn(e) {
    const where = e.composedPath()[0], field = fields.includes(where);
    if (e.isComposing || !hasModifier(e)) return field || !(e.key === 'Enter' && e.shiftKey);
    return also(e, where) || (field && !e.altKey && (EDITS.test(e.key) || (!e.shiftKey && PLAIN_EDITS.test(e.key))));
  }
  const nearby = () => [host.closest('.jp-Cell'), host.closest('.jp-Notebook'), document.body];
  function setAway(is) { // was the focus given back to the notebook, and is it still there? Enter returns then
    away = is;
    ui.cover.textContent = is ? 'Click or press Enter to use the keys' : 'Click here to use the keys';
  }
  const showHelp = (there) => { ui.help.hidden = !there; ui.helpButton.setAttribute('aria-expanded', there); };
  function leave() {
    if (!ui.help.hidden) return showHelp(false);
    if (closeFirst()) return;
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
  Object.assign(acts, {'?': () => showHelp(ui.help.hidden), Escape: leave});
  function typed(e) {
    const where = e.composedPath()[0], field = where.tagName;
    if (e.isComposing) return;
    if (fields.includes(where)) return typedInField(e, where);
    if (field === 'SELECT' && e.key !== 'Escape') return;
    if (field === 'BUTTON' && (e.key === 'Enter' || e.key === ' ')) return;
    if (e.key === 'Enter') e.preventDefault();
    if (field === 'SELECT') return toRoot();
    const act = over(e.key) || acts[e.key];
    if (act && !(e.repeat && once.includes(e.key))) { e.preventDefault(); act(e); } // held down, it marks only once
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
  for (const [name, button] of Object.entries(ui.buttons)) {
    button.addEventListener('click', () => { acts[name](); if (!'en'.includes(name)) toRoot(); });
  }
  ui.helpButton.addEventListener('click', acts['?']);
  setAway(false);
  function close() {
    for (const type of KEYS_SEEN) window.removeEventListener(type, guard, true);
    window.removeEventListener('focusin', onFocus, true);
  }
  return {takeFocus, close};
}
