"""Which accounts does the server have? Made so that doing it twice changes nothing."""

from django.contrib.auth.models import User


def ensure(login, password):
    """The account exists, is active, an ordinary user, and has this password."""
    user, _ = User.objects.get_or_create(username=login)
    user.is_active, user.is_staff = True, False
    # Hashing costs a third of a second: not for an account that is right already.
    if not user.check_password(password):
        user.set_password(password)
    user.save()
    return user
