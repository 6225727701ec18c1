#!/usr/bin/env python
"""What must exist before the server starts? Tables, static files and two users; running it again changes nothing."""

import os

import django


def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokensite.settings")
    django.setup()

    from django.core.management import call_command

    from tokensite.accounts import ensure

    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    for login in ("alice", "bob"):
        ensure(login, "correct-horse-9")


if __name__ == "__main__":
    main()
