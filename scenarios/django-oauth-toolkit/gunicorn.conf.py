"""How does gunicorn serve the project? Two threaded workers, unless OAUTHSITE_WORKERS and _THREADS say otherwise."""

import os

run_dir = os.environ.get("OAUTHSITE_RUN_DIR", "run")

wsgi_app = "oauthsite.wsgi:application"
bind = f"127.0.0.1:{os.environ.get('OAUTHSITE_PORT', '8000')}"
worker_class = "gthread"
workers = int(os.environ.get("OAUTHSITE_WORKERS", "2"))
threads = int(os.environ.get("OAUTHSITE_THREADS", "4"))
accesslog = os.path.join(run_dir, "access.log")
errorlog = os.path.join(run_dir, "error.log")
