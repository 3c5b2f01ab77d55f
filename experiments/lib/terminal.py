"""Text from files on a terminal, which obeys some characters."""

import unicodedata


def printable(text: str, keep: str = '') -> str:
  """Text with names of files, or from files, for a line on the terminal.

  Args:
    text: as the system gave it.
    keep: control characters that stay.

  Returns:
    The text with control characters and bytes that are no text escaped.
  """
  return ''.join(
    character.encode('unicode_escape', 'surrogatepass').decode('ascii')
    if character not in keep and unicodedata.category(character) in ('Cc', 'Cs')
    else character
    for character in text
  )
