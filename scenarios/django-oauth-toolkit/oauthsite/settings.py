"""How is this server set up? Every choice is an environment variable, so that one project is many deployments.

    OAUTHSITE_RUN_DIR          folder of the database and the logs (default: ./run)
    OAUTHSITE_ACCESS_SECONDS   lifetime of an access token (default 36000, as the toolkit has it)
    OAUTHSITE_REFRESH_SECONDS  lifetime of a refresh token (default: none, as the toolkit has it)
    OAUTHSITE_ROTATE           0: a refresh keeps the refresh token (default 1, as the toolkit has it)
    OAUTHSITE_GRACE_SECONDS    how long a rotated refresh token may be repeated (default 0)
    OAUTHSITE_REUSE_PROTECTION 1: a repeated refresh token revokes its whole family (default 0, as the toolkit has it)
    OAUTHSITE_HASHER           pbkdf2 (default, Django's own) or quick (unsalted MD5: for loads, never for people)
    OAUTHSITE_DEBUG            1: Django's debug pages (default 0)
    OAUTHSITE_HOOKS            1: POST /-/hooks/<name>/ changes users, for tests on loopback (default 0)
"""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


def text(name, default=""):
    return os.environ.get(f"OAUTHSITE_{name}", default)


def flag(name, default=False):
    return text(name, "1" if default else "0").lower() in {"1", "true", "yes", "on"}


RUN_DIR = Path(text("RUN_DIR", str(HERE / "run"))).resolve()
RUN_DIR.mkdir(parents=True, exist_ok=True)

SECRET_KEY = "development-only-0a4be1f67c3d4bb8a1c95e72d8f3b604"
DEBUG = flag("DEBUG")
HOOKS = flag("HOOKS")
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "oauthsite.urls"
WSGI_APPLICATION = "oauthsite.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "oauth2_provider",
    "oauthsite",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": RUN_DIR / "db.sqlite3",
        # Several workers share the file: readers must not wait for the writer, nor the writer give up at once.
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}

if text("HASHER", "pbkdf2") == "quick":
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

OAUTH2_PROVIDER = {
    "SCOPES": {"read": "read what is yours", "write": "change what is yours", "introspection": "ask about tokens"},
    "DEFAULT_SCOPES": ["read"],
    "ACCESS_TOKEN_EXPIRE_SECONDS": int(text("ACCESS_SECONDS", "36000")),
    "REFRESH_TOKEN_EXPIRE_SECONDS": int(text("REFRESH_SECONDS", "0")) or None,
    "ROTATE_REFRESH_TOKEN": flag("ROTATE", default=True),
    "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": int(text("GRACE_SECONDS", "0")),
    "REFRESH_TOKEN_REUSE_PROTECTION": flag("REUSE_PROTECTION"),
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {
        "application": {
            "class": "logging.FileHandler",
            "filename": str(RUN_DIR / "application.log"),
            "formatter": "plain",
        },
    },
    "root": {"handlers": ["application"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": ["application"], "level": "INFO", "propagate": False},
        "django.server": {"handlers": ["application"], "level": "INFO", "propagate": False},
    },
}
