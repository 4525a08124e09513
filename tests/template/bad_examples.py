"""Changes that a gate must stop: what is put where, and what the gate calls it.

Each is a small change of the real project. `test_gates.py` makes them in copies of it and runs the
gates there; docs/gates.md lists them.
"""

from __future__ import annotations

from dataclasses import dataclass

# These look at one template at a time, so that each example is a template of its own.
PER_TEMPLATE = ("cfn-lint", "checkov", "cfn-guard", "parliament")


@dataclass(frozen=True)
class Example:
    """One change: `bad` in the place of `good`, or a new file where there is no `good`."""

    gate: str
    what: str
    names: str
    good: str
    bad: str
    file: str = "template.yaml"


def of(gate: str, *rows: tuple[str, ...]) -> list[Example]:
    """Examples for one gate."""
    return [Example(gate, *row) for row in rows]


ACCESS = "access.yaml"
FOUNDATION = "foundation.yaml"
PIPELINE = "pipeline.yaml"
BOUNDARY = (
    "      PermissionsBoundary: !If [UseBoundary, !Ref PermissionsBoundaryArn, !Ref AWS::NoValue]\n"
)
CALL_API_SETTINGS = "          API_BASE_URL: !Ref ApiBaseUrl\n"
PUT_RECORDS = "                Action: kinesis:PutRecords\n"
WRITE_CHUNKS = "                Action: s3:PutObject\n"
# Made up, and in two pieces, so that no scanner takes it for a real one.
KEY = "AKIA" + "Q3EGFTXA7TNJZK5V"
PRIVATE = "RSA " + "PRIVATE KEY"
SECRET = "kWcrlUX5JEDGM/LtmEENI/" + "aVmYvHNif5zB2iO4sQ"

EXAMPLES = [
    *of(
        "cfn-guard",
        (
            "functions that are not traced",
            "FUNCTION_IS_TRACED",
            "    Tracing: Active\n",
            "    Tracing: PassThrough\n",
        ),
        (
            "a runtime that is not maintained",
            "FUNCTION_RUNS_WHAT_IS_MAINTAINED",
            "    Runtime: python3.13\n",
            "    Runtime: python3.9\n",
        ),
        (
            "a function without a log group of its own",
            "FUNCTION_LOGS_TO_A_GROUP_THAT_ENDS",
            "      LoggingConfig:\n        LogGroup: !Ref CallApiLogGroup\n",
            "",
        ),
        (
            "settings under the key of AWS",
            "FUNCTION_SETTINGS_ARE_UNDER_THE_KEY",
            "    KmsKeyArn: !If [UseDataKey, !Ref DataKeyArn, !Ref AWS::NoValue]\n",
            "",
        ),
        (
            "a function that the internet can call",
            "FUNCTION_HAS_NO_ADDRESS",
            "      CodeUri: functions/migrate/\n",
            "      CodeUri: functions/migrate/\n      FunctionUrlConfig: {AuthType: NONE}\n",
        ),
        (
            "a mapping that retries for ever",
            "MAPPING_GIVES_UP_AND_KEEPS_WHAT_IT_GAVE_UP",
            "            MaximumRetryAttempts: 200\n",
            "            MaximumRetryAttempts: -1\n",
        ),
        (
            "a mapping that loses what it gives up",
            "MAPPING_GIVES_UP_AND_KEEPS_WHAT_IT_GAVE_UP",
            (
                "            DestinationConfig:\n"
                "              OnFailure:\n"
                "                Type: S3\n"
                "                Destination: !GetAtt PayloadBucket.Arn\n"
            ),
            "",
        ),
        (
            "a schedule with the same name in every stack",
            "SCHEDULE_LOSES_NO_START_AND_IS_NEVER_LATE",
            "            OmitName: true\n",
            "",
        ),
        (
            "a schedule without a dead-letter queue",
            "SCHEDULE_LOSES_NO_START_AND_IS_NEVER_LATE",
            (
                "            DeadLetterConfig:\n"
                "              Arn: !GetAtt ScheduleDeadLetterQueue.Arn\n"
            ),
            "",
        ),
        (
            "users' data in the workflow's logs",
            "MACHINE_IS_LOGGED_WITHOUT_DATA_AND_TRACED",
            "        IncludeExecutionData: !Ref WorkflowExecutionData\n",
            "        IncludeExecutionData: true\n",
        ),
        (
            "a log group that is kept for ever",
            "LOG_GROUP_ENDS",
            "      RetentionInDays: !Ref LogRetentionDays\n",
            "",
        ),
        (
            "a log group without the key",
            "LOG_GROUP_IS_UNDER_THE_KEY",
            "      KmsKeyId: !If [UseDataKey, !Ref DataKeyArn, !Ref AWS::NoValue]\n",
            "",
        ),
        (
            "a bucket that could be made public",
            "BUCKET_IS_CLOSED",
            "        BlockPublicPolicy: true\n",
            "        BlockPublicPolicy: false\n",
        ),
        (
            "a bucket whose encryption is left to the account",
            "BUCKET_IS_ENCRYPTED",
            (
                "      BucketEncryption:\n"
                "        ServerSideEncryptionConfiguration:\n"
                "          - !If\n"
                "            - UseDataKey\n"
                "            - BucketKeyEnabled: true\n"
                "              ServerSideEncryptionByDefault: "
                "{SSEAlgorithm: aws:kms, KMSMasterKeyID: !Ref DataKeyArn}\n"
                "            - ServerSideEncryptionByDefault: {SSEAlgorithm: AES256}\n"
            ),
            "",
        ),
        (
            "old versions that are kept for ever",
            "BUCKET_KEEPS_VERSIONS_FOR_A_WHILE",
            (
                "            NoncurrentVersionExpiration: {NoncurrentDays: 30}\n"
                "            AbortIncompleteMultipartUpload: {DaysAfterInitiation: 1}\n"
            ),
            "            ExpiredObjectDeleteMarker: true\n",
            PIPELINE,
        ),
        (
            "a bucket that takes plain http",
            "BUCKET_TAKES_TLS_ONLY",
            '                aws:SecureTransport: "false"\n',
            '                aws:SecureTransport: "true"\n',
        ),
        (
            "a stream in plain text",
            "STREAM_IS_ENCRYPTED",
            (
                "      StreamEncryption:\n"
                "        EncryptionType: KMS\n"
                "        KeyId: !If [UseDataKey, !Ref DataKeyArn, alias/aws/kinesis]\n"
            ),
            "",
        ),
        (
            "a queue in plain text",
            "QUEUE_IS_ENCRYPTED_AND_WAITS_FOR_PEOPLE",
            "      SqsManagedSseEnabled: !If [UseDataKey, !Ref AWS::NoValue, true]\n",
            "",
        ),
        (
            "a proxy that takes plain connections",
            "PROXY_TAKES_TLS_AND_IAM_ONLY",
            "      RequireTLS: true\n",
            "      RequireTLS: false\n",
        ),
        (
            "a key that can go with its stack",
            "KEY_IS_CHANGED_AND_KEPT",
            (
                "    # Without it nothing that was written under it can be read again.\n"
                "    DeletionPolicy: Retain\n"
            ),
            "",
            FOUNDATION,
        ),
        (
            "a database that can be deleted by mistake",
            "DATABASE_IS_ENCRYPTED_AND_KEPT",
            "      DeletionProtection: true\n",
            "",
            FOUNDATION,
        ),
        (
            "a database that takes plain connections",
            "DATABASE_TAKES_TLS_ONLY",
            '        require_secure_transport: "ON"\n',
            '        require_secure_transport: "OFF"\n',
            FOUNDATION,
        ),
        (
            "a database on the internet",
            "DATABASE_IS_NOT_ON_THE_INTERNET",
            "      PubliclyAccessible: false\n",
            "      PubliclyAccessible: true\n",
            FOUNDATION,
        ),
        (
            "a security group that reaches everything",
            "SECURITY_GROUP_SAYS_WHAT_IT_REACHES",
            (
                "      SecurityGroupEgress:\n        - Description: The database\n"
                "          IpProtocol: tcp\n          FromPort: !Ref DatabasePort\n"
                "          ToPort: !Ref DatabasePort\n"
                "          DestinationSecurityGroupId: !Ref DatabaseSecurityGroupId\n"
            ),
            "",
        ),
        (
            "a port that is open to everybody",
            "NETWORK_IS_OPEN_TO_NOBODY",
            "          DestinationPrefixListId: !Ref S3PrefixListId\n",
            "          CidrIp: 0.0.0.0/0\n",
            FOUNDATION,
        ),
        ("a role that knows no boundary", "ROLE_STAYS_WITHIN_THE_BOUNDARY", BOUNDARY, ""),
        (
            "a policy of AWS that grants everything of a service",
            "ROLE_HAS_NO_POLICY_THAT_OTHERS_WRITE",
            "      ManagedPolicyArns:\n        - !Ref TracingPolicy\n",
            (
                "      ManagedPolicyArns:\n"
                "        - !Sub arn:${AWS::Partition}:iam::aws:policy/AmazonS3FullAccess\n"
            ),
        ),
        (
            "a role that a service may assume for others",
            "ROLE_IS_FOR_ONE_SERVICE_OF_THIS_ACCOUNT",
            (
                "            Principal: {Service: scheduler.amazonaws.com}\n"
                "            Action: sts:AssumeRole\n"
                "            Condition: {StringEquals: {aws:SourceAccount: !Ref AWS::AccountId}}\n"
            ),
            (
                "            Principal: {Service: scheduler.amazonaws.com}\n"
                "            Action: sts:AssumeRole\n"
            ),
        ),
        (
            "an account that a service tells and that is not asked for",
            "ROLE_IS_FOR_ONE_SERVICE_OF_THIS_ACCOUNT",
            (
                "            Principal: {Service: scheduler.amazonaws.com}\n"
                "            Action: sts:AssumeRole\n"
                "            Condition: {StringEquals: "
            ),
            (
                "            Principal: {Service: scheduler.amazonaws.com}\n"
                "            Action: sts:AssumeRole\n"
                "            Condition: {StringEqualsIfExists: "
            ),
        ),
        (
            "a role that anybody may assume",
            "ROLE_IS_FOR_ONE_SERVICE_OF_THIS_ACCOUNT",
            "            Principal: {Service: states.amazonaws.com}\n",
            '            Principal: "*"\n',
        ),
        (
            "packages that everybody may read",
            "RESOURCE_IS_NOT_FOR_EVERYBODY",
            (
                "            Principal: {AWS: !FindInMap [Tenants, Accounts, All]}\n"
                "            Action: [s3:GetObject, s3:GetObjectVersion]\n"
            ),
            (
                '            Principal: "*"\n'
                "            Action: [s3:GetObject, s3:GetObjectVersion]\n"
            ),
            PIPELINE,
        ),
        (
            "every action of a service",
            "POLICY_NAMES_ITS_ACTIONS",
            WRITE_CHUNKS,
            "                Action: s3:*\n",
        ),
        (
            "every action there is",
            "POLICY_SAYS_WHAT_IT_ALLOWS",
            "                Action: [codebuild:BatchGetBuilds, codebuild:StartBuild]\n",
            '                Action: "*"\n',
            PIPELINE,
        ),
        (
            "every action but one",
            "POLICY_SAYS_WHAT_IT_ALLOWS",
            PUT_RECORDS,
            "                NotAction: kinesis:DeleteStream\n",
        ),
        (
            "every resource where one would do",
            "POLICY_NAMES_ITS_RESOURCES",
            PUT_RECORDS + "                Resource: !GetAtt RowStream.Arn\n",
            PUT_RECORDS + '                Resource: "*"\n',
        ),
    ),
    *of(
        "checkov",
        (
            "a bucket without versions",
            "CKV_AWS_21",
            "      VersioningConfiguration: {Status: Enabled}\n",
            "",
        ),
        (
            "a bucket that could be made public",
            "CKV_AWS_56",
            "        RestrictPublicBuckets: true\n",
            "        RestrictPublicBuckets: false\n",
        ),
        (
            "keys of AWS in a function's settings",
            "CKV_AWS_45",
            CALL_API_SETTINGS,
            f"{CALL_API_SETTINGS}          KEY: {KEY}\n          SECRET: {SECRET}\n",
        ),
        (
            "a key that is never changed",
            "CKV_AWS_7",
            "      EnableKeyRotation: true\n",
            "",
            PIPELINE,
        ),
        (
            "a key for everybody",
            "CKV_AWS_33",
            (
                "            Principal: {AWS: !FindInMap [Tenants, Accounts, All]}\n"
                "            Action: [kms:Decrypt, kms:DescribeKey]\n"
            ),
            '            Principal: {AWS: "*"}\n            Action: [kms:Decrypt]\n',
            PIPELINE,
        ),
        (
            "a topic in plain text",
            "CKV_AWS_26",
            "    Properties:\n      KmsMasterKeyId: !GetAtt ArtifactKey.Arn\n",
            "",
            PIPELINE,
        ),
        (
            "a database in plain text",
            "CKV_AWS_96",
            "      StorageEncrypted: true\n",
            "      StorageEncrypted: false\n",
            FOUNDATION,
        ),
    ),
    *of(
        "cfn-lint",
        (
            "a property that does not exist",
            "E3002",
            "      EnableDnsSupport: true\n",
            "      EnableDnsSupports: true\n",
            FOUNDATION,
        ),
        (
            "a reference to nothing",
            "E1020",
            "      DBSubnetGroupName: !Ref DatabaseSubnets\n",
            "      DBSubnetGroupName: !Ref DatabaseSubnet\n",
            FOUNDATION,
        ),
        (
            "data that would be deleted with the stack",
            "I3011",
            "    DeletionPolicy: Snapshot\n",
            "",
            FOUNDATION,
        ),
        (
            "an account that is written down",
            "I3042",
            "${AWS::AccountId}:log-group:/aws/lambda/*",
            "123456789012:log-group:/aws/lambda/*",
            FOUNDATION,
        ),
        (
            "a mapping without a destination for what fails",
            "ES1001",
            (
                "            DestinationConfig:\n"
                "              OnFailure:\n"
                "                Type: S3\n"
                "                Destination: !GetAtt PayloadBucket.Arn\n"
            ),
            "",
        ),
        (
            "functions that are not traced",
            "WS1000",
            "    Tracing: Active\n",
            "",
        ),
    ),
    *of(
        "parliament",
        (
            "an action that does not exist",
            "UNKNOWN_ACTION",
            PUT_RECORDS,
            "                Action: kinesis:PutRows\n",
        ),
        (
            "an action that its resource does not have",
            "RESOURCE_MISMATCH",
            PUT_RECORDS,
            "                Action: s3:PutObject\n",
        ),
        (
            "every resource where the action knows one",
            "RESOURCE_STAR",
            PUT_RECORDS + "                Resource: !GetAtt RowStream.Arn\n",
            PUT_RECORDS + '                Resource: "*"\n',
        ),
    ),
    *of(
        "permissions",
        (
            "an action that no code uses",
            "s3:DeleteObject",
            "                Action: [s3:GetObject, s3:PutObject]\n",
            "                Action: [s3:DeleteObject, s3:GetObject, s3:PutObject]\n",
        ),
        (
            "a canned policy of SAM",
            "CallApiFunctionRole",
            "      Role: !GetAtt CallApiRole.Arn\n",
            "      Policies: [S3CrudPolicy: {BucketName: !Ref PayloadBucket}]\n",
        ),
        (
            "a deploying role that lacks an action",
            "rds:DescribeDBProxies",
            "              - rds:*DBProx*\n",
            "              - rds:*DBProxy*\n",
            ACCESS,
        ),
        (
            "a deploying role that lacks a resource",
            "lambda:PublishLayerVersion",
            ":layer:batch-${TenantId}-*\n",
            ":layer:${TenantId}-*\n",
            ACCESS,
        ),
        (
            "a star without a reason",
            "test_every_star_has_its_reason_beside_it",
            '  # "*": traces are no resources.\n  TracingPolicy:\n',
            "  TracingPolicy:\n",
        ),
    ),
    *of(
        "house rules",
        (
            "a handler that is not there",
            "functions_are_the_six",
            "    Handler: app.lambda_handler\n",
            "    Handler: app.handler\n",
        ),
        (
            "a secret in a function's settings",
            "settings_come_from_parameters_and_resources",
            "          DATABASE_SECRET_ARN: !Ref DatabaseSecretArn\n",
            "          DATABASE_SECRET_ARN: hunter2\n",
        ),
        (
            "an account that is written into the template",
            "nothing_is_of_one_account_region_or_partition",
            "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:*",
            "arn:${AWS::Partition}:lambda:${AWS::Region}:123456789012:function:*",
        ),
        (
            "a state that ends before its function",
            "functions_end_before_their_states",
            "      Timeout: 120\n",
            "      Timeout: 300\n",
        ),
    ),
    *of(
        "statelint",
        (
            "a state that leads nowhere",
            "Finish",
            '"Next": "Finish Run"',
            '"Next": "Finish"',
            "statemachine/batch.asl.json",
        ),
    ),
    *of(
        "sam validate template.yaml",
        ("an event of an unknown kind", "Kafkaesque", "Type: ScheduleV2\n", "Type: Kafkaesque\n"),
    ),
    *of(
        "sam validate --lint",
        (
            "a property that does not exist",
            "E3002",
            "      StreamModeDetails:\n",
            "      StreamModeDetail:\n",
        ),
    ),
    *of(
        "bandit",
        ("code that is put together at run time", "B307", "", "eval(input())\n", "functions/x.py"),
        (
            "a command that a shell reads",
            "B602",
            "",
            'import subprocess\n\nsubprocess.run("ls", shell=True)\n',
            "batchctl/x.py",
        ),
    ),
    *of("ruff", ("a name that is not used", "F401", "", "import os\n", "sampleapi/x.py")),
    *of(
        "ruff format", ("a file of another form", "scripts/x.py", "", "x = [ 1 ]\n", "scripts/x.py")
    ),
    *of(
        "arrows",
        (
            "a function that calls AWS itself",
            "boto3",
            "from __future__ import annotations\n",
            "from __future__ import annotations\n\nimport boto3\n",
            "functions/call_api/app.py",
        ),
    ),
    *of(
        "tenants",
        (
            "a parameter that the template does not have",
            "ChunkConcurrencies",
            "ChunkConcurrency",
            "ChunkConcurrencies",
            "tenants/tenants.yaml",
        ),
    ),
    *of(
        "locks",
        (
            "a package without hashes",
            "not pinned to hashes: requests==2.0.0",
            "# This file was autogenerated by uv via the following command:\n",
            "requests==2.0.0\n",
            "layers/batch_core/requirements.txt",
        ),
        (
            "a package that is not locked",
            "requests is in one of it",
            "pytest\n",
            "pytest\nrequests\n",
            "requirements/dev.in",
        ),
    ),
    *of(
        "checkov",
        (
            "a private key in a file",
            "CKV_SECRET_13",
            "",
            f"-----BEGIN {PRIVATE}-----\nMIIEpAIBAAKCAQEA\n-----END {PRIVATE}-----\n",
            "docs/key.pem",
        ),
        (
            "a key of AWS in a file",
            "CKV_SECRET_2",
            "",
            f"key = {KEY}\n",
            "tenants/notes.txt",
        ),
    ),
    *of(
        "build twice",
        (
            "a layer that says when it was built",
            "not the same twice: JobLayer/built",
            '\tcp -R schema "$(ARTIFACTS_DIR)/python/"\n',
            '\tdate +%s%N > "$(ARTIFACTS_DIR)/built"\n',
            "layers/job/Makefile",
        ),
    ),
]
