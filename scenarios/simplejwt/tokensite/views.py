"""What does the application do, apart from handing out tokens?"""

from django.http import HttpResponse
from django.templatetags.static import static
from rest_framework.response import Response
from rest_framework.views import APIView


class Hello(APIView):
    """The protected resource: tells the caller who they are."""

    def get(self, request):
        user = request.user
        return Response({"id": str(user.pk), "username": user.username, "level": "staff" if user.is_staff else "user"})


def ready(request):
    """Tells a launcher that the server answers; touches neither database nor tokens."""
    return HttpResponse("ready\n", content_type="text/plain")


def index(request):
    """A page with a style sheet, so that there are static files to serve."""
    return HttpResponse(
        f'<!doctype html><title>tokensite</title><link rel="stylesheet" href="{static("tokensite/site.css")}">'
        "<h1>tokensite</h1><p>Tokens at <code>/api/token/</code>.</p>"
    )
