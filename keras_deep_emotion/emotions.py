"""The seven emotions, in the paper's order, and each data set's own names and codes for them.

The only place where a label is written down: builders read it from here, and from then on labels
travel with the data set, the run folder (`labels.txt`) and the export.
"""

EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")

# FER-2013's codes 0..6 (`emotion` column of fer2013.csv).
FER2013_CODES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")

# Folder names of FER-2013's re-packaging as JPEG files.
FER2013_FOLDERS = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "sad": "sadness",
    "surprise": "surprise",
}

# FER+'s ten vote columns, in the order of label.csv. NF: not a face.
FERPLUS_VOTES = (
    "neutral", "happiness", "surprise", "sadness", "anger",
    "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip
