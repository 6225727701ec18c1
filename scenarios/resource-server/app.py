"""What does a server do that only verifies? Tokens come from elsewhere; this one knows the issuer's public key, and its own name.

Start it with `uvicorn app:app --host 127.0.0.1 --port 8000`.
"""

from pathlib import Path
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

KEY = (Path(__file__).parent / "keys/public.pem").read_text()
ISSUER = "https://login.example"
AUDIENCE = "orders"

app = FastAPI()
bearer = HTTPBearer(auto_error=False)


def caller(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> str:
    if credentials is None:
        raise HTTPException(401, headers={"WWW-Authenticate": 'Bearer realm="orders"'})
    try:
        claims = jwt.decode(
            credentials.credentials,
            KEY,
            algorithms=["RS256"],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
    except jwt.InvalidTokenError:
        raise HTTPException(
            401, headers={"WWW-Authenticate": 'Bearer realm="orders", error="invalid_token"'}
        ) from None
    return claims["sub"]


@app.get("/orders")
def orders(user: Annotated[str, Depends(caller)]) -> dict[str, str | list[str]]:
    return {"of": user, "orders": []}


@app.get("/ready")
def ready() -> dict[str, bool]:
    return {"ready": True}
