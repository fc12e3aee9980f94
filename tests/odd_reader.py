"""What reads scans in the tests of archives: the first letters of a file say what reading it does to the reader."""
import os, signal, time

def scan_reader(spec):
    def read(files):
        for place, path in files:
            data = path.read_bytes()
            if data.startswith(b'kill'): os.kill(os.getpid(), signal.SIGKILL)
            if data.startswith(b'hang'): time.sleep(3600)
            row = dict(file=str(path), page=0, place=place)
            try:
                if data.startswith(b'huge'): bytearray(30 << 30)
                if data.startswith(b'cut'): raise OSError('it is cut off')
                time.sleep(spec.get('seconds', 0))
                yield place, row | dict(text=data.decode(), confidence=.9, lines=[])
            except (MemoryError, OSError) as e: yield place, row | dict(error=f'{place}: {type(e).__name__} {e}')
    return read
