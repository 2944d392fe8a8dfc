"""Telling people and programs elsewhere: webhook, Slack, mail; never in the way of the work."""

from tradeschool.notify.channels import Channel, Mail, Slack, Webhook
from tradeschool.notify.message import Message
from tradeschool.notify.notifier import Notifier

__all__ = ["Channel", "Mail", "Message", "Notifier", "Slack", "Webhook"]
