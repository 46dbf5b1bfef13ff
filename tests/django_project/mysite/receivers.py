"""What the worker runs: `SIGNALS_RECEIVERS` names it."""

from gaesignals.integrations.django import task_receivers

receivers = task_receivers()
