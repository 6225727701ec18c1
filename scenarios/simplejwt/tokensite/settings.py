"""How is this server set up? Every choice is an environment variable, so that one project is many deployments.

    TOKENSITE_RUN_DIR            folder of the database, the logs and the collected static files (default: ./run)
    TOKENSITE_ALGORITHM          HS256 (default), HS384, HS512, RS256, ES256, ... : whatever PyJWT can do
    TOKENSITE_SECRET             the HMAC secret (default: a published development value, loopback only)
    TOKENSITE_SIGNING_KEY_FILE   PEM of the private key (default for RS256: keys/rs256.pem)
    TOKENSITE_VERIFYING_KEY_FILE PEM of the public key (default for RS256: keys/rs256.pub.pem)
    TOKENSITE_ACCESS_SECONDS     lifetime of an access token (default 300, as simplejwt has it)
    TOKENSITE_REFRESH_SECONDS    lifetime of a refresh token (default 86400, as simplejwt has it)
    TOKENSITE_LEEWAY_SECONDS     tolerance for expired tokens (default 0)
    TOKENSITE_ISSUER, TOKENSITE_AUDIENCE   claims to set and to demand (default: none)
    TOKENSITE_ROTATE             1: a refresh hands out a new refresh token (default 0)
    TOKENSITE_BLACKLIST          1: a rotated refresh token is put on the blacklist (default 0)
    TOKENSITE_CHECK_REVOKE       1: tokens carry a digest of the password's hash and die with the password (default 0)
    TOKENSITE_CHECK_ACTIVE       0: inactive users keep their access (default 1)
    TOKENSITE_UPDATE_LAST_LOGIN  1: a login writes to the user's row (default 0)
    TOKENSITE_HASHER             pbkdf2 (default, Django's own) or quick (unsalted MD5: for loads, never for people)
    TOKENSITE_LOG_AUTHORIZATION  1: the access log holds the Authorization header, a mistake made on purpose (default 0)
    TOKENSITE_DEBUG              1: Django's debug pages (default 0)
    TOKENSITE_HOOKS              1: POST /-/hooks/<name>/ changes users, for tests on loopback (default 0)
"""

import os
from datetime import timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


def text(name, default=""):
    return os.environ.get(f"TOKENSITE_{name}", default)


def flag(name, default=False):
    return text(name, "1" if default else "0").lower() in {"1", "true", "yes", "on"}


RUN_DIR = Path(text("RUN_DIR", str(HERE / "run"))).resolve()
RUN_DIR.mkdir(parents=True, exist_ok=True)

SECRET_KEY = text("SECRET", "development-only-7f1d0c5b9e4a4c0f8a63d2b1e5c47a90")
DEBUG = flag("DEBUG")
HOOKS = flag("HOOKS")
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "tokensite.urls"
WSGI_APPLICATION = "tokensite.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "tokensite",
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

STATIC_URL = "/static/"
STATIC_ROOT = RUN_DIR / "static"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [
        "rest_framework.parsers.JSONParser",
        "rest_framework.parsers.FormParser",
    ],
}

ALGORITHM = text("ALGORITHM", "HS256")
SIMPLE_JWT = {
    "ALGORITHM": ALGORITHM,
    "SIGNING_KEY": SECRET_KEY,
    "ACCESS_TOKEN_LIFETIME": timedelta(seconds=float(text("ACCESS_SECONDS", "300"))),
    "REFRESH_TOKEN_LIFETIME": timedelta(seconds=float(text("REFRESH_SECONDS", "86400"))),
    "LEEWAY": float(text("LEEWAY_SECONDS", "0")),
    "ISSUER": text("ISSUER") or None,
    "AUDIENCE": text("AUDIENCE") or None,
    "ROTATE_REFRESH_TOKENS": flag("ROTATE"),
    "BLACKLIST_AFTER_ROTATION": flag("BLACKLIST"),
    "UPDATE_LAST_LOGIN": flag("UPDATE_LAST_LOGIN"),
    "CHECK_REVOKE_TOKEN": flag("CHECK_REVOKE"),
    "CHECK_USER_IS_ACTIVE": flag("CHECK_ACTIVE", default=True),
}
if not ALGORITHM.startswith("HS"):
    name = ALGORITHM.lower()
    SIMPLE_JWT["SIGNING_KEY"] = Path(text("SIGNING_KEY_FILE", str(HERE / f"keys/{name}.pem"))).read_text()
    SIMPLE_JWT["VERIFYING_KEY"] = Path(text("VERIFYING_KEY_FILE", str(HERE / f"keys/{name}.pub.pem"))).read_text()

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "tokensite.logs.JsonFormatter"}},
    "handlers": {
        "application": {
            "class": "logging.FileHandler",
            "filename": str(RUN_DIR / "application.log"),
            "formatter": "json",
        },
        "access": {
            "class": "logging.FileHandler",
            "filename": str(RUN_DIR / "access.log"),
            "formatter": "json",
            "delay": True,
        },
    },
    "loggers": {
        "django": {"handlers": ["application"], "level": "INFO", "propagate": False},
        # runserver's own access log.
        "django.server": {"handlers": ["access"], "level": "INFO", "propagate": False},
    },
    "root": {"handlers": ["application"], "level": "INFO"},
}
