#!/usr/bin/env python
"""What must exist before the server starts? Tables, two users and two clients; running it again changes nothing."""

import os

import django


def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oauthsite.settings")
    django.setup()

    from django.core.management import call_command

    from oauthsite.accounts import ensure, ensure_client

    call_command("migrate", interactive=False, verbosity=0)
    for login in ("alice", "bob"):
        ensure(login, "correct-horse-9")
    ensure_client("shop", "shop-secret-9")
    ensure_client("stall", "stall-secret-9")


if __name__ == "__main__":
    main()
