"""A server on this machine that plays the part of one in the network."""

import contextlib
import hashlib
import http.server
import json
import pathlib
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator

# (path, query, whether with Authorization) to (status, headers, content).
Answer = Callable[[str, dict[str, str], bool], tuple[int, dict[str, str], bytes]]


class Server:
    """Answers requests, with ranges; does `faults` first, one a request.

    A fault is a status to answer with, or ('cut', N): the connection ends after N bytes.
    """

    def __init__(self, answer: Answer):
        self.answer = answer
        self.faults: list = []
        self.ranges = True  # else each answer is the whole file
        self.requests: list[tuple[str, str | None]] = []  # path with query, range
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *args):
                pass

            def do_GET(self):
                server._handle(self, body=True)

            def do_HEAD(self):
                server._handle(self, body=False)

        self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self._server.server_port}'

    def _handle(self, handler, body: bool) -> None:
        self.requests.append((handler.path, handler.headers.get('Range')))
        split = urllib.parse.urlsplit(handler.path)
        query = dict(urllib.parse.parse_qsl(split.query))
        fault = self.faults.pop(0) if self.faults else None
        status, headers, content = 200, {}, b''
        if isinstance(fault, int):
            status = fault
        else:
            signed = 'Authorization' in handler.headers
            status, headers, content = self.answer(urllib.parse.unquote(split.path), query, signed)
        first, total = 0, len(content)
        if status == 200 and self.ranges and (asked := handler.headers.get('Range')):
            begin, _, end = asked.removeprefix('bytes=').partition('-')
            first, last = int(begin), min(int(end or total - 1), total - 1)
            content, status = content[first : last + 1], 206
            headers = {**headers, 'Content-Range': f'bytes {first}-{last}/{total}'}
        handler.send_response(status)
        for name, value in {**headers, 'Content-Length': str(len(content))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if isinstance(fault, tuple):
            content = content[: fault[1]]
            handler.close_connection = True
        if body:
            with contextlib.suppress(ConnectionError):
                handler.wfile.write(content)


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    """A server that runs in a thread."""
    server = Server(answer)
    thread = threading.Thread(target=server._server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server._server.shutdown()
        server._server.server_close()
        thread.join()


def bucket(files: dict[str, bytes]) -> Answer:
    """Answers as Google Cloud Storage does for a public bucket with these files."""

    def answer(path, query, signed):
        if 'prefix' in query:
            prefix = query['prefix']
            rest = [name.removeprefix(prefix) for name in files if name.startswith(prefix)]
            found = sorted({one.partition('/')[0] for one in rest if '/' in one})
            tags = ''.join(
                f'<CommonPrefixes><Prefix>{prefix}{one}/</Prefix></CommonPrefixes>' for one in found
            )
            listing = f'<ListBucketResult xmlns="http://doc.s3.amazonaws.com">{tags}'
            return 200, {}, (listing + '</ListBucketResult>').encode()
        content = files.get(path.lstrip('/'))
        if content is None:
            return 404, {}, b'<Error><Code>NoSuchKey</Code></Error>'
        return 200, {'ETag': f'"{hash(content)}"'}, content

    return answer


class Hub:
    """Answers as the Hugging Face hub does: data sets, their files and their commits."""

    def __init__(self):
        # Repository -> branch or commit -> (card, path -> content); a branch and its commit share.
        self.repos: dict[str, dict[str, tuple[dict, dict[str, bytes]]]] = {}
        self.gated: set[str] = set()

    def commit(
        self, repo: str, files: dict[str, bytes], card: dict | None = None, branch: str = 'main'
    ) -> str:
        revisions = self.repos.setdefault(repo, {})
        name = hashlib.sha1(repr((card, files)).encode()).hexdigest()
        revisions[branch] = revisions[name] = (card or {}, files)
        return name

    def __call__(self, path: str, query: dict[str, str], signed: bool):
        if match := re.fullmatch(r'/api/datasets/(.+?)/(revision|tree)/(.+)', path):
            repo, what, revision = match.groups()
        elif match := re.fullmatch(r'/datasets/(.+?)/(resolve)/(\w+)/(.+)', path):
            repo, what, revision, name = match.groups()
        elif path.startswith('/storage/'):  # where large files are
            _, _, repo, revision, name = path.split('/', 4)
            return 200, {}, self.repos[repo.replace('--', '/')][revision][1][name]
        else:
            return 404, {}, b''
        if repo not in self.repos:
            return 401, {'X-Error-Code': 'RepoNotFound'}, b''
        if what == 'tree':
            revision, _, name = revision.partition('/')
        if revision not in self.repos[repo]:
            return 404, {'X-Error-Code': 'RevisionNotFound'}, b''
        card, files = self.repos[repo][revision]
        if what == 'revision':
            commits = [key for key, value in self.repos[repo].items() if value == (card, files)]
            commit = next(key for key in commits if re.fullmatch('[0-9a-f]{40}', key))
            about = {'id': repo, 'sha': commit, 'cardData': card, 'siblings': [], 'private': False}
            return 200, {'Content-Type': 'application/json'}, json.dumps(about).encode()
        if what == 'tree':
            inside = {path: len(files[path]) for path in files if path.startswith(name)}
            folders = {str(one) for path in inside for one in pathlib.PurePath(path).parents}
            found = [
                {'type': 'file', 'path': path, 'size': size, 'oid': 'x'}
                for path, size in inside.items()
            ]
            found += [{'type': 'directory', 'path': one, 'oid': 'x'} for one in folders - {'.'}]
            return 200, {'Content-Type': 'application/json'}, json.dumps(found).encode()
        if repo in self.gated and not signed:
            return 401, {'X-Error-Code': 'GatedRepo'}, b''
        return 302, {'Location': f'/storage/{repo.replace("/", "--")}/{revision}/{name}'}, b''
