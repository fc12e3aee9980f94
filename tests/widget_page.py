"""A widget on a page of its own, without JupyterLab: its front end in chromium, its kernel in this process."""
import base64, json

SHELL = """<!DOCTYPE html><html><head><meta charset="utf-8"><style>body {margin: 0; padding: 6px; background: %s} %s</style></head><body data-jp-theme-light="%s"><div id="host"></div><script type="module">%s
const bytes = (text) => { const b = atob(text), a = new Uint8Array(b.length); for (let i = 0; i < b.length; i++) a[i] = b.charCodeAt(i); return new DataView(a.buffer); };
const state = {}, heard = {};
const take = (found) => {
  const traits = JSON.parse(found).traits;
  for (const [k, v] of Object.entries(traits)) state[k] = v && v.base64 !== undefined ? bytes(v.base64) : v;
  for (const k of Object.keys(traits)) for (const f of heard['change:' + k] || []) f();
  for (const m of JSON.parse(found).messages) for (const f of heard['msg:custom'] || []) f(m, []);
};
const model = {get: (k) => state[k], on: (e, f) => (heard[e] ||= []).push(f), off: () => {}, send: (m) => window.toPython(m).then(take)};
take(await window.toPython(null));
widget.render({model, el: document.getElementById('host')});
</script></body></html>"""

class WidgetPage:
    "`widget` on a page of the browser; what it asks for and what goes wrong is kept"
    def __init__(self, browser, widget, folder, dark=False, size=(900, 600)):
        self.widget, self.messages, self.errors, self.asked, self.sent = widget, [], [], [], {}
        widget.send = self.messages.append
        self.page = browser.new_page(viewport=dict(width=size[0], height=size[1]))
        self.page.on('pageerror', lambda e: self.errors.append(str(e))), self.page.on('dialog', lambda d: (self.errors.append(d.message), d.dismiss()))
        self.page.on('request', lambda r: self.asked.append(r.url))
        self.page.expose_function('toPython', self.answer)
        code = widget._esm if isinstance(widget._esm, str) else str(widget._esm)
        path = folder/f'widget-{id(self)}.html'
        path.write_text(SHELL % ('#111' if dark else '#fff', str(widget._css), 'false' if dark else 'true', code.replace('export default', 'const widget =')), encoding='utf-8')
        self.page.goto(f'file://{path}')
        self.page.wait_for_function("document.querySelector('#host > *')?.contains(document.activeElement)") # it takes the keys when it is laid out

    def answer(self, message):
        if message is not None: self.widget.on_message(self.widget, message)
        plain = lambda v: dict(base64=base64.b64encode(v).decode()) if isinstance(v, bytes) else v
        now = {k: plain(getattr(self.widget, k)) for k in self.widget.traits(sync=True) if not k.startswith('_') and k not in ('layout', 'tooltip', 'tabbable', 'comm')}
        new = {k: v for k, v in now.items() if self.sent.get(k) != v}
        self.sent = now
        out = json.dumps(dict(traits=new, messages=self.messages))
        self.messages.clear()
        return out

    def says(self, part):
        self.page.wait_for_function("(t) => document.querySelector('.say').textContent.includes(t)", arg=part)
