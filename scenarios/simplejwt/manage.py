#!/usr/bin/env python
"""Which Django command is to be run? The usual entry of a Django project."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tokensite.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
