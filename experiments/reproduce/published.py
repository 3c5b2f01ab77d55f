"""The numbers of the paper, and those that it prints of other methods.

"Pose-Invariant Face Alignment with a Single CNN", ICCV 2017. NME in percent.
"""

METHOD = 'proposed method'

# Sec. 4.1: 3,901 training and 1,299 test images with 34 landmarks. CALE in the text.
AFLW_NME = {METHOD: 4.45, 'LPFA': 4.72, 'PIFA': 8.04, 'RCPR': 6.26, 'CALE': 2.96}
# Table 3: the mean face in the box, then after every block.
AFLW_START = 25.8
AFLW_BLOCKS = (9.26, 6.77, 5.51, 4.98, 4.60, 4.45)
AFLW_TRAIN_FACES, AFLW_TEST_FACES = 3901, 1299
BOXES_PER_IMAGE = 20

# Table 4: MAPE in pixels, 468 faces.
AFW_MAPE = {METHOD: 6.27, 'LPFA': 7.43, 'PIFA': 8.61, 'CDM': 9.13, 'TSPM': 11.09}
AFW_FACES = 468

# Table 5: common, challenging, full. The normaliser is that of its rivals: the distance
# of the pupils.
W300_SETS = ('common', 'challenging', 'full')
W300_FACES = {'common': 554, 'challenging': 135, 'full': 689}
W300_NME = {
  METHOD: (5.43, 9.88, 6.30),
  'ESR': (5.28, 17.00, 7.58),
  'RCPR': (6.18, 17.26, 8.35),
  'SDM': (5.57, 15.40, 7.50),
  'LBF': (4.95, 11.98, 6.32),
  'CFSS': (4.73, 9.98, 5.76),
  'RCFA': (4.03, 9.85, 5.32),
  'RAR': (4.12, 8.35, 4.94),
  '3DDFA': (6.15, 10.59, 7.01),
  '3DDFA+SDM': (5.53, 9.56, 6.31),
}
# Sec. 4.2: share of the full set above 8 %, in percent, by number of landmarks.
W300_FAILURES = {68: {METHOD: 16.83, 'MDM': 6.80}, 51: {METHOD: 8.99, 'MDM': 4.20}}

# Sec. 4.3: 5 % noise on the FC weights of one block at a time; no visualization at all.
NOISE_SHARE = 0.05
NOISE = (4.46, 4.53, 4.60, 4.66, 4.80, 5.16)
NO_VISUALIZATION = 7.18
# Tables 6, 7 and 8.
INPUTS = {'IFV': 4.45, 'FV': 4.48, 'IV': 5.06}
MASKS = {'nose': 4.45, 'five': 4.49, 'none': 5.31}
BLOCKS_AND_LAYERS = {(6, 2): 4.45, (4, 3): 4.61, (3, 4): 4.83}

# Sec. 4: epochs of the whole training, and those after which the rate falls.
EPOCHS, FALLS = 33, (20, 29)
# Sec. 4.4: (networks, epochs of each, days of all), and faces a second.
TRAINING = {METHOD: (1, 33, 2.5), 'LPFA': (6, 70, 7.0), '3DDFA': (3, 20, 12.0)}
SPEED = {METHOD: 4.3, 'LPFA': 0.6, 'RAR': 4.0}
