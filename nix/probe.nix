# A line of Python that fails unless a page of this container is answered with success: the image has no curl.
{ port, path }:
"import urllib.request as r; r.urlopen('http://127.0.0.1:${toString port}${path}', timeout=10)"
