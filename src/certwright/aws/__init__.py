"""The deployment on AWS."""

import gc
import os

if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    # What is imported stays. Until a function is put together (`app.Function`), to look for garbage among it again and
    # again would take a tenth of the time.
    gc.disable()
