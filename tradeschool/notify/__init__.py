"""Sends notifications to webhooks, Slack and mail.

It never delays or stops the work that it reports on.
"""

from tradeschool.notify.channels import Channel, Mail, Slack, Webhook
from tradeschool.notify.notification import Notification
from tradeschool.notify.notifier import Notifier

__all__ = ["Channel", "Mail", "Notification", "Notifier", "Slack", "Webhook"]
