"""Texts that would like to be more than text, and what a page of ours may hold."""
from html.parser import HTMLParser

HOSTILE = [
    '<script>alert(1)</script>', '</script><script>alert(1)</script>', '<SCRIPT SRC=//x.example/a.js></SCRIPT>', '<scr<script>ipt>alert(1)</scr</script>ipt>', '<script\n>alert(1)</script\n>', '<script/x>alert(1)</script>',
    '<img src=x onerror=alert(1)>', '<img src="x" onerror="alert(1)">', "<img src='x' onerror='alert(1)'>", '"><img src=x onerror=alert(1)>', "'><img src=x onerror=alert(1)>", '<img src=//tracker.example/p.gif>', '<img/src=x/onerror=alert(1)>', '" onerror="alert(1)', "' onmouseover='alert(1)",
    '" autofocus onfocus="alert(1)', '" style="position:fixed;top:0', '<svg onload=alert(1)>', '<svg><script>alert(1)</script></svg>', '<svg/onload=alert(1)//', '<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>', '<body onload=alert(1)>', '<iframe src="javascript:alert(1)"></iframe>', '<iframe srcdoc="<script>alert(1)</script>">',
    '<object data="data:text/html,<script>alert(1)</script>">', '<embed src=x>', '<link rel=stylesheet href=//x.example/a.css>', '<style>*{display:none}</style>', '</style><script>alert(1)</script>', '<base href="//x.example/">', '<meta http-equiv=refresh content="0;url=//x.example">', '<form action=//x.example><button>go</button>',
    '<a href="javascript:alert(1)">x</a>', '<button data-commandlinker-command="terminal:create-new">x</button>', '<details open ontoggle=alert(1)>', '<video><source onerror=alert(1)>', '<input onfocus=alert(1) autofocus>', '<marquee onstart=alert(1)>', '<textarea></textarea><script>alert(1)</script>', '<title></title><script>alert(1)</script>',
    '[x](javascript:alert(1))', '![x](//tracker.example/p.gif)', '[x]: javascript:alert(1)', '`code` **bold** <b>raw</b>', '| a | b |\n|---|---|\n| <img src=x onerror=alert(1)> | x |', '$\\href{javascript:alert(1)}{x}$', '<!-- --><script>alert(1)</script>', '<!--><img src=x onerror=alert(1)>', '<![CDATA[<script>alert(1)</script>]]>',
    '&lt;script&gt;alert(1)&lt;/script&gt;', '&#60;script&#62;', '\x00<script>alert(1)</script>', 'KB \x1b[31m912\x1b[0m \x07\x08', '\u202eltr\u202c \u2066x\u2069 \u200f', 'KB\u200b9\u200c1\u200d2\ufeff', '\ud800 half a character \udfff', '\u2028<script>\u2029alert(1)</script>', '=HYPERLINK("//x.example","x")', '@SUM(1+9)*cmd|" /C calc"!A0', '{{7*7}} ${7*7} <%= 7*7 %> #{7*7}', 'x' * 3000 + '<script>alert(1)</script>',
]

TAGS = {'html', 'head', 'meta', 'title', 'style', 'body', 'main', 'h1', 'h2', 'p', 'form', 'label', 'select', 'option', 'input', 'output', 'kbd', 'div', 'article', 'span', 'img', 'b', 'code', 'del', 'ins', 'br', 'i', 'dl', 'dt', 'dd', 'script'}
ATTRIBUTES = {'lang', 'charset', 'http-equiv', 'content', 'name', 'class', 'aria-label', 'aria-live', 'aria-hidden', 'id', 'value', 'type', 'placeholder', 'tabindex', 'alt', 'width', 'src', 'title',
              *(f'data-{k}' for k in ('n', 'loss', 'cer', 'wer', 'confidence', 'length_ratio', 'repetition'))}

class Seen(HTMLParser):
    "Tags, attributes and texts of a page"
    def __init__(self, page):
        super().__init__()
        self.tags, self.names, self.values, self.texts = [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.names += [n for n, _ in attrs]
        self.values += [(tag, n, v) for n, v in attrs]
    def handle_data(self, data): self.texts.append(data)
    def handle_comment(self, data): self.tags.append('!--')
    def handle_decl(self, decl): self.tags.append('!' + decl if decl != 'DOCTYPE html' else 'html')
    def unknown_decl(self, data): self.tags.append('![')
    def handle_pi(self, data): self.tags.append('?')

def foreign(page):
    "What does not belong into a page of ours"
    seen = Seen(page)
    out  = [t for t in seen.tags if t not in TAGS] + [n for n in seen.names if n not in ATTRIBUTES]
    out += [f'{tag} {n}={v}'[:80] for tag, n, v in seen.values if n == 'src' and not v.startswith('data:image/')]
    return out, seen
