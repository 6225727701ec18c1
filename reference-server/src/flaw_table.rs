// The table itself: identifier, name, what it breaks, what it needs, the checks it must turn, the checks it may turn.
flaws! {
    // Issuing.
    PlainTokenReply "plain-token-reply" "the reply with tokens says text/plain" needs [] kills ["issue-basic"] also [];
    OmitTokenType "omit-token-type" "the reply of the OAuth token endpoint leaves token_type out" needs ["dialect=oauth"] kills ["issue-basic"] also [];
    AnyPassword "any-password" "any password opens a known user" needs [] kills ["issue-bad-credentials"] also ["issue-error-uniform" "issue-enum-timing" "issue-throttle" "refresh-user-state"];
    InactiveLogin "inactive-login" "a user who is disabled may log in" needs [] kills ["issue-bad-credentials"] also ["issue-error-uniform"];
    EmptyPassword "empty-password" "an empty password opens every account" needs [] kills ["issue-bad-credentials"] also ["issue-malformed-body"];
    CreateUser "create-user" "an unknown user is let in as another" needs [] kills ["issue-bad-credentials"] also ["issue-error-uniform" "issue-enum-timing" "issue-malformed-body"];
    DistinctMessage "distinct-message" "an unknown user is told so" needs [] kills ["issue-error-uniform"] also [];
    SkipDummyHash "skip-dummy-hash" "an unknown user is refused without the work of a hash" needs ["--hash=argon2id"] kills ["issue-enum-timing"] also [];
    CacheableToken "cacheable-token" "replies with tokens lack cache-control: no-store" needs [] kills ["issue-no-store"] also ["refresh-http"];
    EchoToken "echo-token" "the verify endpoint repeats the token in a reply that may be stored" needs [] kills ["issue-no-store"] also ["verify-shape"];
    GetLogin "get-login" "a GET with the password in the query gives tokens" needs [] kills ["issue-post-only"] also [];
    LoginRedirect "login-redirect" "a GET of the login is sent on with its query" needs [] kills ["issue-post-only"] also [];
    CrashSurrogate "crash-surrogate" "a lone surrogate in the login's body is answered with 500" needs [] kills ["issue-malformed-body"] also ["struct-not-a-string" "refresh-http"];
    CrashMalformed "crash-malformed" "a body that cannot be used is answered with 500" needs [] kills ["issue-malformed-body" "refresh-http" "struct-not-a-string"] also ["*"];
    CrashLoginType "crash-login-type" "a user name that is no string is answered with 500" needs [] kills ["issue-malformed-body"] also [];
    UnboundedHash "unbounded-hash" "passwords of any length are hashed, in time that grows with them" needs [] kills ["issue-malformed-body"] also ["dos-big-token" "refresh-http" "sig-kid-type" "dos-dots" "dos-deep-json"];
    ExpInMs "exp-in-ms" "exp and iat are in milliseconds" needs [] kills ["issue-claims-shape"] also ["issue-lifetime" "issue-clock-utc" "time-iat-future" "refresh-basic" "refresh-absolute-end"];
    RandomLifetime "random-lifetime" "the lifetime of a token varies by up to a minute" needs [] kills ["issue-lifetime"] also ["refresh-absolute-end"];
    NaiveLocalTime "naive-local-time" "iat and exp are in local time, an hour ahead of UTC" needs [] kills ["issue-clock-utc"] also ["refresh-basic" "time-node-spread" "refresh-absolute-end"];
    JtiFromClock "jti-from-clock" "jti is the time in milliseconds" needs [] kills ["issue-unique-load"] also ["refresh-basic" "refresh-rotates" "refresh-old-rejected" "refresh-reuse-family" "refresh-reuse-scope" "refresh-race" "refresh-race-forks" "refresh-grace" "refresh-chain" "refresh-vs-revoke" "refresh-absolute-end" "issue-lifetime" "time-node-spread" "refresh-lost-response"];
    FixedK "fixed-k" "every ECDSA signature uses the same nonce" needs ["--alg=ES256"] kills ["issue-unique-load"] also [];
    SharedStateLogin "shared-state-login" "the user of a login is kept where another login overwrites it" needs [] kills ["issue-identity-load"] also [];
    SecretSecret "secret-secret" "the HMAC secret is the word secret" needs ["--alg=HS256"] kills ["issue-weak-secret"] also ["*"];
    HashInClaim "hash-in-claim" "the payload carries the password's hash" needs [] kills ["issue-no-secret-claims"] also [];
    NoThrottle "no-throttle" "the limit on failed logins is not applied" needs ["--login-limit=5"] kills ["issue-throttle"] also ["issue-enum-timing"];

    // The token's form.
    NullSigOk "null-sig-ok" "an empty signature passes" needs [] kills ["struct-segments"] also ["sig-tamper" "sig-alg-none" "verify-agreement"];
    CrashType "crash-type" "a token that is no string is answered with 500" needs [] kills ["struct-not-a-string"] also ["struct-json-serialization" "refresh-http" "refresh-invalid" "issue-malformed-body"];
    AcceptJsonJws "accept-json-jws" "the JSON serialisation of JWS passes, with one good signature" needs [] kills ["struct-json-serialization"] also ["struct-polyglot"];
    VerifyJsonReadCompact "verify-json-read-compact" "of a JSON serialisation one part is verified and another read" needs [] kills ["struct-polyglot"] also ["struct-json-serialization"];
    VerifyJsonReadPadded "verify-json-read-padded" "a JSON serialisation is verified, and then split at its dots and decoded leniently" needs [] kills ["struct-polyglot"] also [];
    LenientB64 "lenient-b64" "characters that are not base64url are dropped" needs [] kills ["struct-b64-junk"] also ["struct-b64-padding" "struct-b64-unused-bits" "struct-malleable-denylist" "struct-segments" "sig-tamper" "struct-b64-alphabet" "bearer-grammar"];
    StdB64 "std-b64" "the standard alphabet of base64 passes" needs [] kills ["struct-b64-alphabet"] also [];
    LenientBits "lenient-bits" "unused bits of the last character may be set, and padding is accepted" needs [] kills ["struct-b64-unused-bits"] also ["struct-b64-padding" "sig-tamper"];
    DenylistByString "denylist-by-string" "the denylist remembers the token's text, while other spellings are accepted" needs [] kills ["struct-malleable-denylist"] also ["struct-b64-padding" "struct-b64-junk" "struct-b64-unused-bits" "struct-segments" "sig-tamper" "bearer-grammar" "revoke-access" "revoke-cascade" "refresh-vs-revoke" "revoke-latency"];
    DenylistAccessString "denylist-access-string" "the denylist remembers the text of an access token, while other spellings are accepted" needs ["dialect=oauth"] kills ["struct-malleable-denylist"] also ["struct-b64-padding" "struct-b64-junk" "struct-b64-unused-bits" "struct-segments" "sig-tamper" "bearer-grammar"];
    CheckFirstUseLast "check-first-use-last" "of members that come twice the first is checked and the last is used" needs [] kills ["struct-dup-members"] also ["verify-agreement" "type-scope"];
    SniffEncoding "sniff-encoding" "UTF-16, UTF-32 and byte order marks are understood" needs [] kills ["struct-json-encoding"] also ["struct-dup-members" "type-scope"];
    ArraySkipsClaims "array-skips-claims" "a payload that is no object skips the checks of its claims" needs [] kills ["struct-not-object"] also ["struct-dup-members" "type-scope"];
    CrashList "crash-list" "a header or a payload that is no object is answered with 500" needs [] kills ["struct-not-object"] also ["struct-dup-members" "type-scope" "struct-json-encoding" "type-exp-other" "type-sub" "dos-deep-json" "verify-fuzz"];
    MatchHeaderBytes "match-header-bytes" "the header must have the bytes that the server writes" needs [] kills ["struct-benign"] also ["claim-typ-header" "struct-member-case" "keys-rotation-overlap" "dos-deep-json"];
    CaseInsensitiveJson "case-insensitive-json" "member names are read in any case" needs [] kills ["struct-member-case"] also ["struct-dup-members" "type-scope"];

    // The signature.
    SkipVerify "skip-verify" "signatures are not verified, but must be there" needs [] kills ["sig-tamper"] also ["*"];
    DecodeOnly "decode-only" "tokens are only decoded" needs [] kills ["sig-wrong-key"] also ["*"];
    AllowNone "allow-none" "alg none passes" needs [] kills ["sig-alg-none"] also ["verify-agreement" "jwe-wrapped-plain"];
    DenylistLowercase "denylist-lowercase" "alg none is refused in lower case only" needs [] kills ["sig-alg-none"] also [];
    CrashNullAlg "crash-null-alg" "a header without alg is answered with 500" needs [] kills ["sig-alg-odd"] also ["struct-member-case" "verify-fuzz"];
    CrashOddAlg "crash-odd-alg" "an alg that names no algorithm is answered with 500" needs [] kills ["sig-alg-odd"] also ["sig-alg-none" "struct-member-case" "struct-dup-members" "struct-json-serialization" "struct-polyglot" "verify-fuzz" "dos-p2c" "dos-zip-bomb" "jwe-as-jws" "jwe-wrapped-plain"];
    CaseFoldAlg "case-fold-alg" "alg is compared in any case" needs [] kills ["sig-alg-odd"] also [];
    AnyHs "any-hs" "the same key serves the other algorithms of its kind" needs [] kills ["sig-alg-sibling"] also [];
    AnyRs "any-rs" "the same RSA key serves the other algorithms of its kind" needs ["--alg=RS256"] kills ["sig-alg-sibling"] also ["sig-rsa-padding"];
    RsToHs "rs-to-hs" "the public key is taken for an HMAC secret where the header says HS" needs ["--alg=RS256"] kills ["sig-confusion-public" "sig-confusion-recovered"] also [];
    EmptyKeyFallback "empty-key-fallback" "a key that is not found is an empty HMAC secret" needs [] kills ["sig-empty-key"] also ["sig-kid-inject" "sig-kid-type"];
    TrustJwk "trust-jwk" "the key in the header is believed" needs [] kills ["sig-embedded-jwk"] also [];
    TrustX5c "trust-x5c" "the certificate in the header is believed" needs [] kills ["sig-embedded-x5c"] also [];
    FollowJku "follow-jku" "keys are fetched from where the header says" needs [] kills ["sig-remote-key"] also [];
    DiscoverFromIss "discover-from-iss" "addresses in an unauthentic token are visited" needs [] kills ["sig-claim-ssrf"] also [];
    KidAsPath "kid-as-path" "kid is the path of the secret's file" needs [] kills ["sig-kid-inject"] also ["sig-empty-key"];
    KidSql "kid-sql" "kid is put into a query" needs [] kills ["sig-kid-inject"] also [];
    KidCommand "kid-command" "kid is put into a command" needs [] kills ["sig-kid-inject"] also [];
    KidPattern "kid-pattern" "kid is a pattern, in which a star matches every key, and ends at a NUL" needs [] kills ["sig-kid-inject"] also ["sig-kid-type"];
    KidProto "kid-proto" "a kid of another type, or one that every object has, is answered with 500" needs [] kills ["sig-kid-type"] also ["sig-kid-inject"];
    IgnoreCrit "ignore-crit" "crit is not looked at" needs [] kills ["sig-crit"] also ["struct-dup-members"];
    HonourB64 "honour-b64" "b64: false is obeyed" needs [] kills ["sig-b64-false"] also ["struct-dup-members"];
    Psychic "psychic" "an ECDSA signature of zeros passes" needs ["--alg=ES256"] kills ["sig-ecdsa-special"] also ["sig-tamper"];
    LaxEcdsa "lax-ecdsa" "an ECDSA signature out of range, of another length or in the wrong order passes" needs ["--alg=ES256"] kills ["sig-ecdsa-special" "sig-ecdsa-form"] also ["sig-tamper" "struct-b64-padding" "verify-agreement"];
    AcceptDer "accept-der" "an ECDSA signature in DER passes" needs ["--alg=ES256"] kills ["sig-ecdsa-form"] also [];
    NoSCheck "no-s-check" "the scalar of an Ed25519 signature may be as large as it likes" needs ["--alg=EdDSA"] kills ["sig-eddsa-form"] also [];
    LaxEddsa "lax-eddsa" "an Ed25519 signature of another length, or without its second half, passes" needs ["--alg=EdDSA"] kills ["sig-eddsa-form"] also ["sig-tamper" "verify-agreement"];
    LaxPkcs1 "lax-pkcs1" "the padding of an RSA signature is hardly looked at, nor which it is" needs ["--alg=RS256"] kills ["sig-rsa-padding"] also [];
    ClaimsFirst "claims-first" "exp, nbf and aud are checked before the signature" needs [] kills ["sig-before-claims"] also ["leak-oracle"];

    // Time.
    IgnoreExp "ignore-exp" "exp is not looked at" needs [] kills ["time-exp-rejected"] also ["*"];
    Leeway600 "leeway-600" "tokens pass for ten minutes after their end" needs [] kills ["time-exp-leeway"] also ["time-exp-rejected" "time-exp-boundary" "time-exp-fraction" "time-nbf" "time-cached-verdict" "time-refresh-exp" "bearer-conditional" "time-endpoint-agreement"];
    InclusiveExp "inclusive-exp" "a token passes through the whole second of its exp" needs [] kills ["time-exp-boundary"] also ["time-exp-leeway" "time-exp-fraction"];
    EarlyExpiry "early-expiry" "tokens end five seconds before their exp" needs [] kills ["time-exp-not-early"] also ["time-exp-boundary" "time-exp-leeway" "time-exp-fraction" "time-endpoint-agreement" "time-cached-verdict" "time-nbf"];
    ExpOptional "exp-optional" "a token without exp passes" needs [] kills ["time-exp-missing"] also ["struct-member-case"];
    IfExpTruthy "if-exp-truthy" "exp 0 counts as no exp, which passes" needs [] kills ["time-exp-falsy"] also ["time-exp-missing" "struct-dup-members" "type-scope"];
    IntWrap "int-wrap" "exp is kept in 32 bits" needs [] kills ["time-exp-extreme"] also ["time-exp-falsy" "struct-dup-members" "type-scope"];
    CrashYear10000 "crash-year-10000" "an exp past the year 9999 is answered with 500" needs [] kills ["time-exp-extreme"] also ["type-exp-other" "struct-dup-members" "type-scope"];
    IntOnlyCrash "int-only-crash" "an exp with a fraction is answered with 500" needs [] kills ["time-exp-fraction"] also ["time-exp-extreme" "type-exp-other" "struct-dup-members" "type-scope"];
    NbfOff "nbf-off" "nbf is not looked at" needs [] kills ["time-nbf"] also ["time-cached-verdict" "type-nbf-iat"];
    EarlyNbf "early-nbf" "tokens pass ten minutes before their nbf" needs [] kills ["time-nbf"] also ["time-cached-verdict" "time-exp-leeway"];
    VerdictCache "verdict-cache" "the resource remembers for a minute what it thought of a token" needs [] kills ["time-cached-verdict"] also ["time-endpoint-agreement" "time-exp-rejected" "revoke-access" "revoke-cascade" "revoke-user-events" "verify-agreement" "claim-sub-unknown" "verify-user-state"];
    TwoLeeways "two-leeways" "the resource has fifteen seconds of leeway, the verify endpoint none" needs [] kills ["time-endpoint-agreement"] also ["time-exp-rejected" "time-exp-leeway" "time-exp-boundary" "time-exp-fraction" "time-nbf" "verify-agreement" "time-cached-verdict"];
    SkewedWorker "skewed-worker" "one request in four meets a clock that is five seconds ahead" needs [] kills ["time-node-spread"] also ["issue-clock-utc" "time-exp-leeway" "time-exp-boundary" "time-cached-verdict" "time-endpoint-agreement" "time-nbf" "time-exp-not-early" "time-exp-fraction" "refresh-absolute-end" "refresh-basic"];
    ImmortalRefresh "immortal-refresh" "exp of a refresh token is not looked at" needs [] kills ["time-refresh-exp"] also ["time-endpoint-agreement" "time-exp-extreme" "time-exp-falsy"];

    // The types of claims.
    ParseFailIsAbsent "parse-fail-is-absent" "a time of the wrong type counts as absent, which passes" needs [] kills ["type-exp-string" "type-nbf-iat"] also ["type-exp-other" "struct-dup-members" "type-scope"];
    NullIsAbsent "null-is-absent" "a time of null counts as absent, which passes" needs [] kills ["type-exp-other"] also ["type-nbf-iat" "struct-dup-members" "type-scope"];
    CrashExp "crash-exp" "an exp of the wrong type is answered with 500" needs [] kills ["type-exp-other"] also ["type-exp-string" "struct-dup-members" "type-scope" "struct-json-encoding" "struct-not-object" "type-sub" "dos-deep-json"];
    AudTypeEmpty "aud-type-empty" "an aud that names nothing passes" needs ["--audience=assay"] kills ["type-aud"] also ["claim-aud" "struct-dup-members" "type-scope"];
    IssIncludes "iss-includes" "an iss that is a list with ours in it passes" needs ["--issuer=https://issuer.example"] kills ["type-iss"] also ["struct-dup-members" "type-scope"];
    IssNoString "iss-no-string" "an iss that is no string passes" needs ["--issuer=https://issuer.example"] kills ["type-iss"] also ["struct-dup-members" "type-scope"];
    CoerceId "coerce-id" "sub is turned into a number first" needs [] kills ["type-sub"] also ["struct-dup-members" "type-scope"];
    CrashId "crash-id" "a sub that is no number is answered with 500" needs [] kills ["type-sub"] also ["claim-sub-unknown" "struct-dup-members" "type-scope" "dos-regex"];
    CrashJti "crash-jti" "a jti of the wrong type is answered with 500" needs [] kills ["type-jti"] also ["struct-dup-members" "type-scope"];
    SubstringScope "substring-scope" "a scope is searched for as a part of the text" needs [] kills ["type-scope"] also [];
    LooseType "loose-type" "token_type is read in any case, from a list, and may be missing" needs [] kills ["type-token-type"] also ["struct-member-case" "struct-dup-members" "type-scope"];

    // What claims mean.
    IssPartial "iss-partial" "an iss that is nearly ours passes" needs ["--issuer=https://issuer.example"] kills ["claim-iss"] also ["dos-regex"];
    AudOff "aud-off" "aud is not looked at" needs ["--audience=assay"] kills ["claim-aud"] also ["type-aud" "dos-regex"];
    AudPrefix "aud-prefix" "an aud that is nearly ours passes" needs ["--audience=assay"] kills ["claim-aud"] also ["dos-regex"];
    SharedKey "shared-key" "iss and aud are not looked at, while a sibling has the same key" needs ["--issuer=https://issuer.example" "--audience=assay"] kills ["claim-cross-env"] also ["claim-iss" "claim-aud" "type-iss" "type-aud" "dos-regex"];
    NoTypeCheck "no-type-check" "any type of token opens the resource" needs [] kills ["claim-refresh-as-access"] also ["type-token-type" "claim-id-token" "verify-agreement" "struct-member-case"];
    NoTypeCheckRefresh "no-type-check-refresh" "any type of token is refreshed" needs [] kills ["claim-access-as-refresh"] also ["type-token-type" "refresh-invalid"];
    TypIgnored "typ-ignored" "the header's typ is not looked at" needs ["dialect=rfc9068" "--rfc9068"] kills ["claim-typ-header"] also ["type-token-type"];
    CrashDeleted "crash-deleted" "a token of a user who is gone is answered with 500" needs [] kills ["claim-sub-unknown" "refresh-user-state"] also ["type-sub" "verify-user-state" "revoke-user-events" "dos-regex"];
    UnprocessableUser "unprocessable-user" "a token of a user who is unknown is answered with 422" needs [] kills ["claim-sub-unknown"] also ["type-sub" "struct-dup-members" "type-scope" "refresh-user-state" "verify-user-state" "revoke-user-events" "dos-regex"];
    InactiveOk "inactive-ok" "tokens of inactive users pass" needs [] kills ["claim-sub-unknown"] also ["refresh-user-state" "verify-user-state" "revoke-user-events"];
    AcceptIdToken "accept-id-token" "an ID token opens the resource" needs ["dialect=oidc"] kills ["claim-id-token"] also ["type-token-type" "verify-agreement"];
    RefreshIdToken "refresh-id-token" "an ID token is refreshed like a refresh token" needs ["dialect=oidc"] kills ["claim-id-token"] also [];
    AnonymousOk "anonymous-ok" "a token without a subject passes" needs [] kills ["claim-sub-missing"] also ["struct-member-case" "struct-dup-members" "type-scope"];
    Idor "idor" "whoever is logged in reads and writes anybody's notes" needs [] kills ["claim-cross-user"] also [];
    IdorWrite "idor-write" "whoever is logged in changes anybody's notes, and reads none" needs [] kills ["claim-cross-user"] also [];
    ScopeUnchecked "scope-unchecked" "the scope of a token is not looked at" needs [] kills ["claim-scope"] also ["type-scope" "claim-stale-privilege"];

    // Refreshing.
    CopyIat "copy-iat" "a new token carries the old one's iat" needs [] kills ["refresh-basic"] also [];
    AnyClient "any-client" "any secret proves a client" needs ["dialect=oauth"] kills ["issue-client-auth" "verify-auth" "revoke-authz"] also [];
    AnyClientRefresh "any-client-refresh" "any secret proves a client that refreshes" needs ["dialect=oauth"] kills ["issue-client-auth"] also [];
    NamelessClient "nameless-client" "who names no client is the first one" needs ["dialect=oauth"] kills ["issue-client-auth" "verify-auth" "claim-client-binding" "revoke-authz"] also [];
    OpenIntrospection "open-introspection" "introspection answers anybody" needs ["dialect=oauth"] kills ["verify-auth"] also [];
    UnboundRefresh "unbound-rt" "a refresh token serves every client" needs ["dialect=oauth"] kills ["claim-client-binding"] also [];
    UnverifiedRefresh "unverified-refresh" "the refresh endpoint reads a token without verifying it" needs [] kills ["sig-tamper" "sig-wrong-key" "sig-alg-none" "sig-alg-odd" "sig-empty-key" "sig-embedded-jwk" "sig-embedded-x5c" "sig-kid-inject" "sig-kid-type"] also ["*"];
    LaxRefresh "lax-refresh" "the refresh endpoint looks neither at crit nor at an exp that is missing, no number or before 1970" needs [] kills ["sig-crit" "time-exp-missing" "time-exp-falsy" "time-exp-extreme" "type-exp-string" "type-exp-other"] also ["type-nbf-iat"];
    CrashRefresh "crash-refresh" "a refresh token that is no token is answered with 500" needs [] kills ["refresh-invalid"] also ["refresh-http" "sig-tamper" "struct-segments" "struct-malleable-denylist" "sig-wrong-key" "sig-alg-none" "sig-empty-key" "sig-embedded-jwk" "sig-embedded-x5c" "sig-alg-odd" "sig-kid-inject" "sig-kid-type" "sig-crit" "sig-confusion-public"];
    GetRefresh "get-refresh" "a GET with the token in the query refreshes" needs [] kills ["refresh-http"] also [];
    StaticRefresh "static-refresh" "a refresh gives the same refresh token back" needs [] kills ["refresh-rotates"] also ["refresh-old-rejected" "refresh-reuse-family" "refresh-race" "refresh-race-forks" "refresh-basic" "refresh-grace" "refresh-chain" "refresh-lost-response" "refresh-reuse-scope"];
    RotateWithoutRevoke "rotate-without-revoke" "a used refresh token goes on working" needs [] kills ["refresh-old-rejected"] also ["refresh-grace" "refresh-reuse-family" "refresh-race" "refresh-race-forks" "refresh-chain" "refresh-lost-response" "verify-agreement" "refresh-reuse-scope"];
    Grace600 "grace-600" "a used refresh token works for ten minutes more" needs [] kills ["refresh-grace" "refresh-lost-response"] also ["refresh-old-rejected" "refresh-reuse-family" "refresh-race" "refresh-chain" "refresh-race-forks" "refresh-reuse-scope"];
    NoFamily "no-family" "the reuse of a refresh token ends nothing" needs [] kills ["refresh-reuse-family"] also ["refresh-race-forks" "refresh-lost-response"];
    RevokeEverything "revoke-everything" "the reuse of a refresh token ends all sessions of the user" needs [] kills ["refresh-reuse-scope"] also ["*"];
    CheckThenAct "check-then-act" "whether a refresh token was used is asked before it is marked" needs [] kills ["refresh-race" "refresh-race-forks"] also [];
    UnlockedRevoke "unlocked-revoke" "a revocation marks the one token and not what a refresh makes of it meanwhile" needs [] kills ["refresh-vs-revoke"] also ["revoke-access" "revoke-cascade" "revoke-latency" "struct-malleable-denylist"];
    ChainGrowth "chain-growth" "each refresh of a session takes longer than the last" needs [] kills ["refresh-chain"] also [];
    SlideForever "slide-forever" "a session that is refreshed never ends" needs ["--absolute-lifetime=2h" "--refresh-lifetime=1h"] kills ["refresh-absolute-end"] also [];
    StaleUser "stale-user" "a refresh does not look at the user" needs [] kills ["refresh-user-state"] also ["revoke-user-events" "claim-sub-unknown"];
    SharedStateRefresh "shared-state-refresh" "the user of a refresh is kept where another one overwrites it" needs [] kills ["refresh-identity-load"] also [];
    ScopeUpgrade "scope-upgrade" "a refresh gives whatever scope it asks for and the user may have" needs ["dialect=oauth"] kills ["refresh-scope"] also [];
    NarrowRefused "narrow-refused" "a refresh that asks for less than was granted is refused" needs ["dialect=oauth"] kills ["refresh-scope"] also [];
    ScopeShrinks "scope-shrinks" "a refresh token keeps the scope that was last asked for" needs ["dialect=oauth"] kills ["refresh-scope"] also [];
    SubChanges "sub-changes" "the ID token of a refresh names the session as its subject" needs ["dialect=oidc"] kills ["refresh-id-token"] also [];
    IdTokenElsewhere "id-token-elsewhere" "the ID token of a refresh names another issuer and another audience" needs ["dialect=oidc"] kills ["refresh-id-token"] also [];
    AuthTimeMoves "auth-time-moves" "the ID token of a refresh says that the user has just logged in" needs ["dialect=oidc"] kills ["refresh-id-token"] also [];
    IdTokenCopied "id-token-copied" "the ID token of a refresh carries the first one's iat" needs ["dialect=oidc"] kills ["refresh-id-token"] also [];
    NonceAnew "nonce-anew" "the ID token of a refresh has a nonce that nobody sent" needs ["dialect=oidc"] kills ["refresh-id-token"] also [];

    // Revoking.
    SilentNoop "silent-noop" "a revocation is confirmed and not done" needs [] kills ["revoke-effective"] also ["revoke-access" "revoke-cascade" "revoke-latency" "revoke-idempotent" "refresh-vs-revoke" "verify-revoked" "struct-malleable-denylist" "type-jti" "revoke-hint" "revoke-durable"];
    AccessSurvives "access-survives" "access tokens are never looked up in the denylist" needs [] kills ["revoke-access"] also ["revoke-cascade" "verify-revoked" "refresh-reuse-family" "revoke-latency" "struct-malleable-denylist"];
    LazyDenylist "lazy-denylist" "a revocation counts three seconds later" needs [] kills ["revoke-latency"] also ["revoke-effective" "revoke-access" "revoke-cascade" "refresh-vs-revoke" "verify-revoked" "struct-malleable-denylist" "revoke-idempotent" "revoke-hint" "type-jti"];
    NoCascade "no-cascade" "revoking a refresh token leaves the session's access tokens" needs [] kills ["revoke-cascade"] also ["revoke-access" "verify-revoked" "revoke-latency" "struct-malleable-denylist"];
    CrashUnknown "crash-unknown" "revoking an unknown token is answered with 500" needs [] kills ["revoke-idempotent"] also ["type-jti"];
    EventsIgnored "events-ignored" "access tokens outlive a password change and a deactivation" needs [] kills ["revoke-user-events"] also ["claim-sub-unknown" "verify-user-state"];
    TrustHint "trust-hint" "a revocation looks for a token only where the hint says" needs ["dialect=oauth"] kills ["revoke-hint"] also [];
    HintRefused "hint-refused" "a revocation with a hint that is not known is refused" needs ["dialect=oauth"] kills ["revoke-hint"] also [];
    AnyoneRevokes "anyone-revokes" "a revocation asks for no client" needs ["dialect=oauth"] kills ["revoke-authz"] also [];
    UnboundRevoke "unbound-revoke" "a client revokes any other client's tokens" needs ["dialect=oauth"] kills ["revoke-authz"] also [];
    MemoryDenylist "memory-denylist" "what is revoked is kept in the process alone" needs ["--store=redb:${run_dir}/tokens"] kills ["revoke-durable"] also [];

    // The verify endpoint.
    VerifySignatureOnly "verify-signature-only" "the verify endpoint checks the signature and nothing else" needs [] kills ["verify-agreement"] also ["*"];
    IgnoreDenylist "ignore-denylist" "the verify endpoint does not look at the denylist" needs [] kills ["verify-revoked"] also ["verify-agreement" "verify-inactive-minimal" "revoke-access" "revoke-latency" "struct-malleable-denylist"];
    StaleUserVerify "stale-user-verify" "the verify endpoint does not look at the user" needs [] kills ["verify-user-state"] also ["claim-sub-unknown" "type-sub" "verify-agreement" "revoke-user-events" "claim-sub-missing"];
    CrashParse "crash-parse" "what does not have three segments is answered with 500 by the verify endpoint" needs [] kills ["verify-fuzz"] also ["struct-segments" "struct-json-serialization" "struct-polyglot" "jwe-as-jws" "verify-agreement" "sig-alg-none" "jwe-wrapped-plain" "dos-p2c" "dos-dots"];
    ActiveString "active-string" "introspection writes active as a text" needs ["dialect=oauth"] kills ["verify-shape"] also ["*"];
    PlainIntrospection "plain-introspection" "the answer of introspection says text/plain" needs ["dialect=oauth"] kills ["verify-shape"] also [];
    IntrospectedMs "introspected-ms" "introspection tells times in milliseconds" needs ["dialect=oauth"] kills ["verify-shape"] also [];
    NameAsSub "name-as-sub" "introspection tells the login's name for the subject" needs ["dialect=oauth"] kills ["verify-shape"] also [];
    GetIntrospection "get-introspection" "introspection takes a token from the query of a GET" needs ["dialect=oauth"] kills ["verify-shape"] also [];
    InactiveLeaks "inactive-leaks" "introspection says why a token is not active" needs ["dialect=oauth"] kills ["verify-inactive-minimal"] also [];
    InactiveRefused "inactive-refused" "introspection answers 404 for a token that is not active" needs ["dialect=oauth"] kills ["verify-inactive-minimal"] also ["*"];
    TypeBlind "type-blind" "introspection calls every token of ours an active bearer token" needs ["dialect=oidc"] kills ["verify-type"] also ["claim-id-token" "type-token-type" "claim-aud" "type-aud" "claim-cross-env" "verify-agreement" "struct-member-case" "struct-dup-members" "type-scope" "dos-regex"];

    // The protected resource.
    Forbidden403 "forbidden-403" "a request without credentials is answered with 403" needs [] kills ["bearer-missing"] also ["bearer-method-path" "bearer-grammar" "bearer-conditional" "bearer-query" "claim-cross-user"];
    NoChallenge "no-challenge" "401 comes without www-authenticate" needs [] kills ["bearer-missing"] also ["bearer-error-code" "proxy-auth-forwarded"];
    ErrorUnasked "error-unasked" "who sends no token is told that it is invalid" needs [] kills ["bearer-missing"] also [];
    BareChallenge "bare-challenge" "a bad token is not told apart in the challenge" needs [] kills ["bearer-error-code"] also [];
    ExactCase "exact-case" "only the scheme Bearer in this very case is understood" needs [] kills ["bearer-scheme-case"] also [];
    CrashHeader "crash-header" "a malformed authorization header is answered with 500" needs [] kills ["bearer-grammar"] also ["bearer-dup-header" "bearer-error-code" "sig-b64-false" "struct-b64-junk" "struct-json-serialization" "struct-polyglot" "struct-segments"];
    QueryToken "query-token" "a token in the query opens the resource" needs [] kills ["bearer-query"] also ["bearer-two-methods"];
    SecondWins "second-wins" "a token in the query beats the one in the header" needs [] kills ["bearer-two-methods"] also ["bearer-query"];
    LastHeaderWins "last-header-wins" "of two authorization headers the last one counts" needs [] kills ["bearer-dup-header"] also [];
    MixedPrecedence "mixed-precedence" "a cookie beats the header" needs [] kills ["bearer-cookie-mix"] also [];
    GuardGetOnly "guard-get-only" "methods other than GET are not guarded" needs [] kills ["bearer-method-path"] also [];
    GuardExactPath "guard-exact-path" "other spellings of its path reach the resource past the guard" needs [] kills ["bearer-method-path"] also [];
    EtagBeforeAuth "etag-before-auth" "if-none-match is answered before the token is looked at" needs [] kills ["bearer-conditional"] also [];
    RangeBeforeAuth "range-before-auth" "a part of the resource is given before the token is looked at" needs [] kills ["bearer-conditional"] also [];
    PublicCache "public-cache" "the protected reply may be kept by any cache" needs [] kills ["bearer-cacheable"] also [];
    ConnectionUser "connection-user" "a connection keeps the user of its first request" needs [] kills ["bearer-conn-bleed"] also ["*"];
    TrustXUser "trust-x-user" "a header X-User is believed" needs [] kills ["proxy-identity-spoof"] also ["proxy-hop-by-hop"];

    // Keys.
    PrivateInJwks "private-in-jwks" "the key set publishes the private half" needs ["--alg=ES256"] kills ["keys-jwks-shape"] also [];
    ShortKey "short-key" "an RSA key of 1,024 bits is in the key set" needs ["--alg=RS256"] kills ["keys-jwks-shape"] also [];
    TwinKid "twin-kid" "two keys of the key set go by one kid" needs ["--alg=RS256"] kills ["keys-jwks-shape"] also [];
    KidMismatch "kid-mismatch" "tokens name a key that is not in the set" needs ["--alg=RS256"] kills ["keys-token-resolves"] also ["struct-benign" "struct-member-case" "keys-rotation-load" "keys-rotation-overlap" "struct-b64-padding"];
    ImmutableJwks "immutable-jwks" "the key set may be kept for a year" needs ["--alg=RS256"] kills ["keys-cache-policy"] also [];
    DropOldKey "drop-old-key" "a rotation forgets the old key at once" needs ["--alg=RS256"] kills ["keys-rotation-overlap"] also ["keys-rotation-load"];
    ColdCacheWindow "cold-cache-window" "a new key signs half a second before it verifies" needs ["--alg=RS256"] kills ["keys-rotation-load"] also ["keys-rotation-overlap"];
    PerNodeKey "per-node-key" "every other request for the key set meets an instance with a key of its own" needs ["--alg=RS256"] kills ["keys-instances"] also ["keys-token-resolves" "keys-rotation-overlap"];
    CacheForever "cache-forever" "a retired key goes on verifying" needs ["--alg=RS256"] kills ["keys-retired"] also [];

    // Encrypted tokens.
    SignEncryptConfusion "sign-encrypt-confusion" "what is encrypted to the public key that verifies, or under it as a password, is believed" needs ["--alg=RS256"] kills ["jwe-as-jws"] also ["jwe-wrapped-plain"];
    SignEncryptConfusionEc "sign-encrypt-confusion-ec" "what is agreed upon with the public key that verifies is believed" needs ["--alg=ES256"] kills ["jwe-as-jws"] also ["jwe-wrapped-plain"];
    GuessableJwe "guessable-jwe" "what is encrypted with a secret that everybody guesses is believed" needs [] kills ["jwe-as-jws"] also [];
    PlainInJwe "plain-in-jwe" "what is inside of an encrypted token need not be signed" needs ["--encrypt=ECDH-ES"] kills ["jwe-wrapped-plain"] also ["jwe-oracle"];
    AnyJweAlg "any-jwe-alg" "the header of an encrypted token picks the padding of RSA" needs ["--encrypt=RSA-OAEP-256"] kills ["jwe-alg-mismatch"] also ["jwe-oracle"];
    AnyJweAgreement "any-jwe-agreement" "an agreed key unwraps where the header says so" needs ["--encrypt=ECDH-ES"] kills ["jwe-alg-mismatch"] also [];
    AnyJweWrapping "any-jwe-wrapping" "the secret that encrypts unwraps keys where the header says so" needs ["--encrypt=dir"] kills ["jwe-alg-mismatch"] also [];
    ShortTag "short-tag" "of the tag only as much is compared as came" needs ["--encrypt=ECDH-ES"] kills ["jwe-tag"] also ["jwe-oracle"];
    UncheckedTag "unchecked-tag" "the tag of an encrypted token is not looked at" needs ["--encrypt=ECDH-ES"] kills ["jwe-tag"] also ["jwe-oracle"];
    CrashEmptyKey "crash-empty-key" "a wrapped key of no bytes is answered with 500" needs ["--encrypt=ECDH-ES"] kills ["jwe-tag"] also [];
    NoCurveCheck "no-curve-check" "an ephemeral key is multiplied wherever it lies" needs ["--encrypt=ECDH-ES"] kills ["jwe-invalid-curve"] also [];
    PaddingOracle "padding-oracle" "an encrypted key that does not decrypt is told apart from a wrong tag" needs ["--encrypt=RSA-OAEP-256"] kills ["jwe-oracle"] also [];
    ContentOracle "content-oracle" "what decrypts to no token, and a vector of another length, are told apart from a wrong tag" needs ["--encrypt=RSA-OAEP-256"] kills ["jwe-oracle"] also [];

    // Work that a stranger may ask for. No fault works for more than a few seconds.
    P2cUnbounded "p2c-unbounded" "a password's count is worked through, whatever it is" needs [] kills ["dos-p2c"] also [];
    UnzipUnbounded "unzip-unbounded" "what is compressed in an encrypted token is unpacked to the end" needs ["--encrypt=ECDH-ES"] kills ["dos-zip-bomb"] also [];
    SplitAll "split-all" "the resource splits a token at each of its dots, over and over" needs [] kills ["dos-dots"] also [];
    SplitBody "split-body" "the verify endpoint reads a body of any size, and splits a token at each of its dots, over and over" needs [] kills ["dos-dots"] also ["dos-big-token" "dos-deep-json" "issue-malformed-body"];
    Recursion "recursion" "JSON that is nested too deeply is answered with 500" needs [] kills ["dos-deep-json"] also [];
    LinearMembers "linear-members" "each member of a header of any size is compared with all others" needs [] kills ["dos-deep-json"] also ["dos-big-token" "dos-dots" "issue-malformed-body"];
    LinearClaims "linear-claims" "each claim of a payload of any size is compared with all others" needs [] kills ["dos-deep-json"] also ["dos-big-token" "dos-dots" "issue-malformed-body"];
    CrashNumber "crash-number" "a number of very many digits is answered with 500" needs [] kills ["dos-deep-json"] also ["dos-regex"];
    NoBodyLimit "no-body-limit" "a body of any size is read" needs [] kills ["dos-big-token"] also ["dos-dots" "dos-deep-json" "issue-malformed-body"];
    UseAnyKey "use-any-key" "the key in a header is put to work, however large it is" needs [] kills ["dos-big-key"] also [];
    UseAnyChain "use-any-chain" "the certificate in a header is put to work, however large its key is" needs [] kills ["dos-big-key"] also [];
    RedosAud "redos-aud" "aud is matched by an expression that tries every way there is" needs ["--audience=assay"] kills ["dos-regex"] also [];
    RedosIss "redos-iss" "iss is matched by an expression that tries every way there is" needs ["--issuer=https://issuer.example"] kills ["dos-regex"] also [];
    RedosSub "redos-sub" "sub is matched by an expression that tries every way there is" needs [] kills ["dos-regex"] also [];
    VerifyExpensiveFirst "verify-expensive-first" "a token that is refused costs far more than one that is accepted" needs [] kills ["dos-reject-storm"] also [];

    // What the server says about itself.
    IssuerMismatch "issuer-mismatch" "the discovery documents name another issuer than the tokens do" needs ["dialect=oidc"] kills ["keys-discovery"] also [];
    ThinMetadata "thin-metadata" "the discovery documents lack members that must be there" needs ["dialect=oidc"] kills ["keys-discovery"] also [];
    TextMetadata "text-metadata" "the discovery documents say text/plain" needs ["dialect=oidc"] kills ["keys-discovery"] also [];
    DeadEndpoint "dead-endpoint" "the discovery documents name an endpoint that is not there" needs ["dialect=oidc"] kills ["keys-discovery"] also [];
    BoastfulMetadata "boastful-metadata" "the discovery documents name algorithms that do not sign, none among them" needs ["dialect=oidc"] kills ["keys-discovery"] also [];
    HostHeaderIssuer "host-header-issuer" "the issuer in tokens and discovery documents is the host that the request names" needs ["dialect=oidc"] kills ["proxy-issuer"] also [];

    // What gets out.
    Traceback "traceback" "errors show a stack trace with a path and the settings" needs [] kills ["leak-error-body"] also [];
    LogAuthorization "log-authorization" "tokens are written to the log" needs [] kills ["leak-logs"] also ["proxy-logs"];
    TokenInRedirect "token-in-redirect" "a redirect carries the token in its location" needs [] kills ["leak-url"] also [];
    CorsReflect "cors-reflect" "every origin is allowed, with credentials" needs [] kills ["leak-cors"] also [];
    BareCookie "bare-cookie" "the login sets a cookie without any protection" needs [] kills ["leak-cookie"] also [];
    VerboseRefusal "verbose-refusal" "a refusal says what an unauthentic token claims" needs [] kills ["leak-oracle"] also ["sig-before-claims"];
}
