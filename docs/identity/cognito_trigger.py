"""Pre-token-generation trigger of an Amazon Cognito user pool, event version V2_0: access tokens get the verified e-mail address, which
audit events record, and for the members of a group the scope that makes an admin.
"""

ADMIN_GROUP = "flag-admins"
ADMIN_SCOPE = "flag-schedules/admin"


def handler(event, context):
    request = event["request"]
    attributes = request["userAttributes"]
    # A user may have written another address, which is unverified then.
    email = attributes.get("email") if attributes.get("email_verified") == "true" else None
    groups = request["groupConfiguration"].get("groupsToOverride") or []
    is_admin = ADMIN_GROUP in groups
    event["response"] = {
        "claimsAndScopeOverrideDetails": {
            "accessTokenGeneration": {
                "claimsToAddOrOverride": {"email": email} if email else {},
                "scopesToAdd": [ADMIN_SCOPE] if is_admin else [],
                "scopesToSuppress": [] if is_admin else [ADMIN_SCOPE],
            },
            "groupOverrideDetails": request["groupConfiguration"],
        }
    }
    return event
