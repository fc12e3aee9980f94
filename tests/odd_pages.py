"""What reads pages in the tests of the app: the first letters of a file say what reading it does, the rest is what stands on it."""
import base64, io, os, signal, time

def scan_reader(spec):
    from PIL import Image
    Image.new('L', (400, 300), 255).save(out := io.BytesIO(), 'JPEG')
    picture = base64.b64encode(out.getvalue()).decode()
    def value(text, n): return dict(text=text, value=None, unit='', confidence=.3*n % 1, box=[[40, 20 + 30*n], [200, 20 + 30*n], [200, 40 + 30*n], [40, 40 + 30*n]], lines=[], flags=[text[:30]], how='cell')
    def read(files):
        for place, path in files:
            text = path.read_bytes().decode('utf-8', 'surrogatepass')
            if text.startswith('kill'): os.kill(os.getpid(), signal.SIGKILL)
            if text.startswith('hang'): time.sleep(3600)
            if text.startswith('slow'): time.sleep(.05)
            row = dict(file=str(path), page=0, place=place)
            if text.startswith('bad'): yield place, row | dict(error=f'{path}: {text}; convert it'); continue
            fields = {name: value(text, n) for n, name in enumerate(('company', 'well', 'field'))}
            yield place, row | dict(kind='page', size=[400, 300], region=[0, 300], turns=0, skew=0., text=text, confidence=.9, lines=[dict(text=text, confidence=.9, row=0, box=[])], unread=0,
                                    record=dict(form=text[:9], fields=fields, runs=[{'date': value('3-7-61', 4)}], other=[]), shown=[400, 300], picture=picture)
    return read
