"""What does the application do, apart from handing out tokens?"""

from django.http import HttpResponse, JsonResponse
from oauth2_provider.views.generic import ProtectedResourceView


class Hello(ProtectedResourceView):
    """The protected resource: tells the caller who they are."""

    def get(self, request):
        user = request.resource_owner
        return JsonResponse({"id": str(user.pk), "username": user.username, "level": "staff" if user.is_staff else "user"})


def ready(request):
    """Tells a launcher that the server answers; touches neither database nor tokens."""
    return HttpResponse("ready\n", content_type="text/plain")
