"""Amazon's own word on IAM tokens: reads cases from standard input, gives the tokens that botocore makes of them."""

import datetime
import json
import sys

import botocore.auth
import botocore.session


def token(case: dict) -> str:
    now = datetime.datetime.fromtimestamp(case["now"], datetime.timezone.utc)
    botocore.auth.get_current_datetime = lambda remove_tzinfo=True: now.replace(tzinfo=None if remove_tzinfo else now.tzinfo)
    client = botocore.session.get_session().create_client(
        "rds",
        region_name=case["region"],
        aws_access_key_id=case["access_key_id"],
        aws_secret_access_key=case["secret_access_key"],
        aws_session_token=case["session_token"],
    )
    return client.generate_db_auth_token(case["host"], case["port"], case["user"])


json.dump([token(case) for case in json.load(sys.stdin)], sys.stdout)
