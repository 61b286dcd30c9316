"""Certwright: certificates from any ACME certificate authority, by GraphQL."""
