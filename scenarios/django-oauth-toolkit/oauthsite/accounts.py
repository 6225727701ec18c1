"""Which accounts and which clients does the server have? Made so that doing it twice changes nothing."""

from django.contrib.auth.models import User
from oauth2_provider.models import get_application_model


def ensure(login, password):
    """The account exists, is active, an ordinary user, and has this password."""
    user, _ = User.objects.get_or_create(username=login)
    user.is_active, user.is_staff = True, False
    # Hashing costs a third of a second: not for an account that is right already.
    if not user.check_password(password):
        user.set_password(password)
    user.save()
    return user


def ensure_client(client_id, secret):
    """A confidential client that may use the password grant; its secret is hashed as a password is."""
    application = get_application_model()
    if application.objects.filter(client_id=client_id).exists():
        return
    application.objects.create(
        client_id=client_id,
        client_secret=secret,
        name=client_id,
        client_type=application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=application.GRANT_PASSWORD,
    )
