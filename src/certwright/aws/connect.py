"""What is made with boto3 for the composition roots."""

from collections.abc import Callable

import boto3

from certwright.aws.dynamo_table import DynamoTable


def dynamo_table(name: str, clock: Callable[[], int]) -> DynamoTable:
    """The table `name`, in the region and with the credentials of the environment."""
    return DynamoTable(boto3.client("dynamodb"), name, clock)
