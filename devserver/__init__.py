"""The cloud on a laptop."""

import warnings

# Google's client libraries say on every import that Python 3.10 will not get their updates any more. It is supported
# here, and every process of the cloud would say it again.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.api_core\._python_version_support")
