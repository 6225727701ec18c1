"""How does a test change a user behind the server's back? Loopback only, and only with TOKENSITE_HOOKS=1.

    POST /-/hooks/disable/   {"login": "alice"}                      the account may no longer be used
    POST /-/hooks/enable/    {"login": "alice"}                      the account may be used again
    POST /-/hooks/delete/    {"login": "alice"}                      the account is gone
    POST /-/hooks/create/    {"login": "alice", "password": "..."}   the account exists, active, with this password
    POST /-/hooks/password/  {"login": "alice", "password": "..."}   a new password
    POST /-/hooks/promote/   {"login": "alice"}                      a member of staff
    POST /-/hooks/demote/    {"login": "alice"}                      an ordinary user again
"""

import json

from django.contrib.auth.models import User
from django.http import JsonResponse
from django.views.decorators.http import require_POST

from tokensite.accounts import ensure

CHANGES = {
    "disable": {"is_active": False},
    "enable": {"is_active": True},
    "promote": {"is_staff": True},
    "demote": {"is_staff": False},
}


@require_POST
def hook(request, name):
    """Applies one change and says what it did."""
    if request.META["REMOTE_ADDR"] not in {"127.0.0.1", "::1"}:
        return JsonResponse({"error": "hooks are for loopback only"}, status=403)
    try:
        body = json.loads(request.body or b"{}")
        login, password = body["login"], body.get("password")
    except (ValueError, KeyError, TypeError, AttributeError):
        return JsonResponse({"error": 'expected {"login": "..."} as JSON'}, status=400)
    if name == "create" and password:
        ensure(login, password)
        return JsonResponse({"created": login})
    try:
        user = User.objects.get(username=login)
    except User.DoesNotExist:
        return JsonResponse({"error": f"no user {login!r}"}, status=404)
    if name in CHANGES:
        for field, value in CHANGES[name].items():
            setattr(user, field, value)
        user.save(update_fields=list(CHANGES[name]))
    elif name == "password" and password:
        user.set_password(password)
        user.save(update_fields=["password"])
    elif name == "delete":
        user.delete()
    else:
        return JsonResponse({"error": f"no hook {name!r}, or a member is missing"}, status=404)
    return JsonResponse({name: login})
